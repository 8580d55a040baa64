import { randomBytes } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { createProject } from '../support/project';
import type { Outcome, Project } from '../support/project';

const DATA_SOURCE = `
const { EntitySchema, DataSource } = require('typeorm');
const { encryptedColumn, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const Patient = new EntitySchema({
  name: 'Patient',
  columns: {
    id: { type: Number, primary: true },
    ssn: encryptedColumn({ read: 'sealed' }),
    note: encryptedColumn(),
  },
});
exports.dataSource = withFieldEncryption(
  new DataSource({ ...JSON.parse(process.env.TEST_DATABASE), entities: [Patient], synchronize: true }),
  { kms: localKms({ keyFile: 'clinic.key' }), accessLog: {} },
);
`;

const READ = `
const { runAs } = require('typeorm-field-encryption');
const { dataSource } = require('./data-source.js');
(async () => {
  await dataSource.initialize();
  const patients = dataSource.getRepository('Patient');
  await patients.insert([{ id: 1, ssn: 'canary 1', note: 'canary' }, { id: 2, ssn: 'canary 2', note: 'canary' }]);
  const found = await runAs({ id: 'ada' }, () => patients.find());
  await runAs({ id: 'bob', reason: 'ticket 7' }, () => found[1].ssn.reveal());
  await dataSource.destroy();
})();
`;

jest.setTimeout(180_000);

describeDiagonal('field-encryption access', (kind) => {
  let project: Project;
  let database: TestDatabase;

  beforeAll(async () => {
    project = createProject(typeormMajor);
    chmodSync(project.write('clinic.key', randomBytes(32).toString('hex')), 0o600);
    project.write('data-source.js', DATA_SOURCE);
    project.write('read.js', READ);
    project.write(
      'edit.js',
      `const { dataSource } = require('./data-source.js');
       dataSource.initialize()
         .then(() => dataSource.query("UPDATE field_encryption_access SET actor = 'eve' WHERE actor = 'bob'"))
         .then(() => dataSource.destroy());`,
    );
    database = await kind.create();
    expect(await project.run('node', ['read.js'], env())).toMatchObject({ code: 0, stderr: '' });
  });
  afterAll(async () => {
    project.dispose();
    await database.dispose();
  });

  const env = (): Record<string, string> => ({
    TEST_DATABASE: JSON.stringify(database.dataSourceOptions),
  });
  const list = (...args: string[]): Promise<Outcome> =>
    project.run('field-encryption', ['-d', 'data-source.js', 'access', 'list', ...args], env());

  it('lists who has used what, and who has read a row', async () => {
    const all = await list();
    expect(all).toMatchObject({ code: 0, stderr: '' });
    expect(all.stdout).toMatch(/ada +decrypt +Patient\.note +2/);
    expect(all.stdout).toMatch(/bob +reveal +Patient\.ssn +1 +2 +ticket 7/);
    expect(all.stdout).not.toContain('canary');
    const { stdout } = await list(
      '--row',
      '2',
      '--column',
      'Patient.ssn',
      '--actor',
      'b',
      '--json',
    );
    expect(JSON.parse(stdout)).toMatchObject({
      ok: true,
      entries: [{ actor: 'bob', operation: 'reveal', primaryKey: ['2'], reason: 'ticket 7' }],
    });
    expect((await list('--since', '2999-01-01')).stdout).toBe(
      'No entries.\n0 entries of that time verified.\n',
    );
  });

  it('refuses a misspelt column, rather than to say that nobody has read it', async () => {
    const { code, stdout, stderr } = await list('--column', 'Patient.sn');
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain('known are Patient.ssn, Patient.note');
  });

  it('names the entries that were edited, with exit code 1', async () => {
    expect(await project.run('node', ['edit.js'], env())).toMatchObject({ code: 0 });
    const { code, stdout } = await list('--actor', 'ada');
    expect(code).toBe(1);
    expect(stdout).toContain('3 entries of that time verified.');
    expect(stdout).toMatch(/Entry \d of [0-9a-f]{16} was edited\./);
  });
});
