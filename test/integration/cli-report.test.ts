import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
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

    expect(await report('--output', 'evidence')).toMatchObject({ code: 0, stderr: '' });
    const folder = join(project.folder, 'evidence');
    expect(readdirSync(folder).sort()).toEqual([
      'report.cbom.json',
      'report.html',
      'report.json',
      'report.note',
      'report.ocsf.jsonl',
    ]);
    // Of an earlier report, nothing stays that the note does not know.
    expect(await report('--output', 'evidence', '--format', 'json')).toMatchObject({ code: 0 });
    expect(readdirSync(folder).sort()).toEqual(['report.json', 'report.note']);
    const stored = JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8')) as EvidenceReport;
    expect(stored.columns).toMatchObject([{ rows: 1, sample: { values: 1, verified: 1 } }]);
  });

  it('is verified without a DataSource by the public key alone, and not once a byte was changed', async () => {
    await report('--output', 'first');
    const keys = await project.run(
      'field-encryption',
      ['-d', 'data-source.js', 'keys', 'public'],
      env(),
    );
    project.write('reports.key', keys.stdout);
    const verify = (...args: string[]): Promise<Outcome> =>
      project.run(
        'field-encryption',
        ['report', 'verify', ...args, '--public-key', 'reports.key'],
        {},
      );
    expect(await verify('first')).toMatchObject({
      ...{ code: 0, stderr: '' },
      stdout: expect.stringContaining('Verified.'),
    });
    await project.run('field-encryption', ['-d', 'data-source.js', 'keys', 'rotate'], env());
    const since = ['--since', 'first/report.note'];
    expect(await report('--output', 'second', ...since)).toMatchObject({ code: 0, stderr: '' });
    const checkpoint = ['--checkpoint', 'first/report.note'];
    expect(await verify('second/report.note', ...checkpoint)).toMatchObject({ code: 0 });
    expect(await verify('first', '--checkpoint', 'second/report.note')).toMatchObject({ code: 1 });

    const changed = join(project.folder, 'second/report.json');
    writeFileSync(changed, readFileSync(changed, 'utf8').replace('"rows": 1', '"rows": 2'));
    expect(await verify('second')).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/FAILED .*report\.json[^]*NOT verified/),
    });
    mkdirSync(join(project.folder, 'first/extra'));
    expect(await verify('first')).toMatchObject({ code: 2 });
    rmSync(join(project.folder, 'first/extra'), { recursive: true });
    symlinkSync('report.json', join(project.folder, 'first/extra'));
    expect(await verify('first')).toMatchObject({ code: 2 });
    rmSync(join(project.folder, 'first/extra'));

    // A file whose path is the key that is given does not take its place.
    const [key = ''] = keys.stdout.trim().split('\n');
    mkdirSync(join(project.folder, dirname(key)), { recursive: true });
    project.write(key, 'other');
    const given = ['report', 'verify', 'first', '--public-key', key];
    expect(await project.run('field-encryption', given, {})).toMatchObject({ code: 0 });
    project.write('reports.key', `${key}  compromised: trust nothing that it signed\n`);
    expect(await verify('first')).toMatchObject({
      ...{ code: 2, stderr: expect.stringContaining('none that is not compromised') },
    });
    expect(await verify('missing')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('There is no file missing'),
    });
  });

  it.each([
    [['--format', 'pdf'], 'It must be one of: json'],
    [['--format', 'json', '--format', 'json'], 'Name a folder with --output'],
    [['--since', 'nosuch'], 'There is no file nosuch'],
    [['--output', 'data-source.js/evidence'], 'data-source.js/evidence cannot be made'],
    [['--samples', '2000'], 'a whole number up to 1000'],
  ])('refuses %j', async (args, message) => {
    const { code, stderr } = await report(...args);
    expect([code === 0, stderr]).toEqual([false, expect.stringContaining(message)]);
  });
});
