import { randomBytes } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { DataSource } from 'typeorm';
import { DATABASES, describeDatabases, typeormMajor } from '../support/databases';
import { DatabaseRole } from '../support/database-role';
import { Cleanup } from '../support/protected-database';
import { createProject } from '../support/project';
import type { Outcome, Project } from '../support/project';

const DATA_SOURCE = `
const { EntitySchema, DataSource } = require('typeorm');
const { encryptedColumn, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const Patient = new EntitySchema({
  name: 'Patient',
  columns: { id: { type: Number, primary: true }, ssn: encryptedColumn() },
});
exports.dataSource = withFieldEncryption(
  new DataSource({ ...JSON.parse(process.env.TEST_DATABASE), entities: [Patient] }),
  { kms: localKms({ keyFile: 'clinic.key' }), application: 'clinic' },
);
`;

/** SQLite has no roles. */
const KINDS = DATABASES.filter(({ dialect }) => dialect !== 'sqlite');

jest.setTimeout(180_000);

describeDatabases(KINDS, 'field-encryption init of a role that may not', (kind) => {
  const cleanup = new Cleanup();
  let project: Project;
  let owner: DataSource;

  beforeAll(async () => {
    project = createProject(typeormMajor);
    chmodSync(project.write('clinic.key', randomBytes(32).toString('hex')), 0o600);
    project.write('data-source.js', DATA_SOURCE);
    const { dataSourceOptions } = await cleanup.create(kind);
    owner = await cleanup.add(new DataSource(dataSourceOptions)).initialize();
  });
  afterAll(async () => {
    await cleanup.run();
    project.dispose();
  });

  async function init(grants: readonly string[]): Promise<Outcome> {
    const role = await DatabaseRole.create(owner, grants);
    try {
      return await initWith(role.options);
    } finally {
      await role.drop();
    }
  }

  function initWith(options: object): Promise<Outcome> {
    const env = { TEST_DATABASE: JSON.stringify(options) };
    return project.run('field-encryption', ['-d', 'data-source.js', 'init'], env);
  }

  it('names the right that is missing, and who runs it or grants that', async () => {
    const isPostgres = kind.dialect === 'postgres';
    const grantee =
      'for `init` and migrations the owner of the tables, .* let the owner grant what';
    const onAll = `GRANT SELECT ON ${isPostgres ? 'ALL TABLES IN SCHEMA public' : `${String(owner.driver.database)}.*`}`;
    const empty = await init([onAll]);
    expect(empty).toMatchObject({ code: 1, stdout: '' });
    expect(empty.stderr).toMatch(
      new RegExp(
        `^error ERR_CONFIGURATION: .*${grantee} is missing: GRANT .*\\bCREATE\\b.* TO it\n`,
      ),
    );

    expect(await initWith(owner.options)).toMatchObject({ code: 0 });
    const operator = await init(['GRANT SELECT, INSERT, UPDATE ON data_keys']);
    expect(operator).toMatchObject({ code: 1, stdout: '' });
    expect(operator.stderr).toMatch(
      new RegExp(
        `no permission to read \\(SELECT\\) table field_encryption_runs, .*${grantee} is missing: GRANT SELECT ON field_encryption_runs TO `,
      ),
    );
    expect(operator.stderr).not.toContain('no permission on table data_keys');
    expect(await init([onAll])).toMatchObject({ code: 0 });
  });
});
