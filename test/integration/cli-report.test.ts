import { randomBytes } from 'node:crypto';
import { chmodSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EvidenceReport } from '../../src';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { createProject } from '../support/project';
import type { Outcome, Project } from '../support/project';

const DATA_SOURCE = `
const { EntitySchema, DataSource } = require('typeorm');
const { encryptedColumn, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const Patient = new EntitySchema({
  name: 'Patient',
  columns: { id: { type: Number, primary: true }, note: encryptedColumn() },
});
exports.dataSource = withFieldEncryption(
  new DataSource({ ...JSON.parse(process.env.TEST_DATABASE), entities: [Patient], synchronize: true }),
  { kms: localKms({ keyFile: 'clinic.key' }) },
);
`;

const SEED = `
const { dataSource } = require('./data-source.js');
(async () => {
  await dataSource.initialize();
  await dataSource.getRepository('Patient').insert({ id: 1, note: 'canary' });
  await dataSource.destroy();
})();
`;

jest.setTimeout(180_000);

describeDiagonal('field-encryption report', (kind) => {
  let project: Project;
  let database: TestDatabase;

  beforeAll(async () => {
    project = createProject(typeormMajor);
    chmodSync(project.write('clinic.key', randomBytes(32).toString('hex')), 0o600);
    project.write('data-source.js', DATA_SOURCE);
    project.write('seed.js', SEED);
    database = await kind.create();
    expect(await project.run('node', ['seed.js'], env())).toMatchObject({ code: 0, stderr: '' });
  });
  afterAll(async () => {
    project.dispose();
    await database.dispose();
  });

  const env = (): Record<string, string> => ({
    TEST_DATABASE: JSON.stringify(database.dataSourceOptions),
  });
  const report = (...args: string[]): Promise<Outcome> =>
    project.run('field-encryption', ['-d', 'data-source.js', 'report', ...args], env());

  it('sums up, lists what breaks rules with control and remedy, and fails for them if asked', async () => {
    const summary = await report();
    expect(summary).toMatchObject({ code: 0, stderr: '' });
    expect(summary.stdout).toMatch(/1 encrypted column with 1 values, 2 keys, \d+ rules applied/);
    expect(summary.stdout).toMatch(/medium backup-behind: backups: 2 keys are newer/);
    expect(summary.stdout).toMatch(
      /Run `field-encryption keys backup`\. \(PCI DSS 4\.0\.1 3\.6\.1/,
    );
    expect(summary.stdout).not.toContain('canary');
    expect(await report('--check')).toMatchObject({ code: 1, stdout: expect.any(String) });
  });

  it('writes one form to stdout, and all of them to a folder', async () => {
    const { code, stdout } = await report('--format', 'json', '--samples', '0');
    expect(code).toBe(0);
    const written = JSON.parse(stdout) as EvidenceReport;
    expect(written.columns).toMatchObject([{ rows: 1, sample: { values: 0 } }]);

    expect(await report('--output', 'evidence')).toMatchObject({ code: 0 });
    const folder = join(project.folder, 'evidence');
    expect(readdirSync(folder)).toContain('report.json');
    const stored = JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8')) as EvidenceReport;
    expect(stored.columns).toMatchObject([{ rows: 1, sample: { values: 1, verified: 1 } }]);
  });

  it.each([
    [['--format', 'pdf'], 'It must be one of: json'],
    [['--format', 'json', '--format', 'json'], 'Name a folder with --output'],
    [['--samples', '2000'], 'a whole number up to 1000'],
  ])('refuses %j', async (args, message) => {
    const { code, stderr } = await report(...args);
    expect([code === 0, stderr]).toEqual([false, expect.stringContaining(message)]);
  });
});
