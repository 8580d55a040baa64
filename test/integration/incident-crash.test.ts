import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import type { IncidentReport } from '../../src';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { createProject } from '../support/project';
import type { Outcome, Project } from '../support/project';
import { hasPseudoTerminals, onTerminalOf, TERMINAL, typeInto } from '../support/typed-answers';

const DATA_SOURCE = `
const { EntitySchema, DataSource } = require('typeorm');
const { encryptedColumn, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const Patient = new EntitySchema({
  name: 'Patient',
  columns: { id: { type: Number, primary: true }, note: encryptedColumn() },
});
exports.dataSource = withFieldEncryption(
  new DataSource({ ...JSON.parse(process.env.TEST_DATABASE), entities: [Patient], synchronize: true }),
  { kms: localKms({ keyFile: 'clinic.key' }), application: 'clinic' },
);
`;

const SEED = `
const { dataSource } = require('./data-source.js');
(async () => {
  await dataSource.initialize();
  const rows = Array.from({ length: 200 }, (_, id) => ({ id, note: 'canary' }));
  await dataSource.getRepository('Patient').insert(rows);
  await dataSource.destroy();
})();
`;

/** Leads through an incident, and kills itself before a step, or in the middle of the rows. */
const LEADER = `
const { fieldEncryption } = require('typeorm-field-encryption');
const { dataSource } = require('./data-source.js');
const { KEY, INCIDENT, KILL_AT } = process.env;
const kill = () => process.kill(process.pid, 'SIGKILL');
(async () => {
  await dataSource.initialize();
  const { incidents } = fieldEncryption(dataSource);
  const options = {
    graceMs: 0,
    confirm: ({ step }) => { if (step === KILL_AT) kill(); return true; },
    onProgress: () => { if (KILL_AT === 'rows') kill(); },
  };
  const { wait } = INCIDENT
    ? await incidents.resume(INCIDENT, options)
    : await incidents.start({ kind: 'key', target: KEY, reason: 'practice' }, options);
  await dataSource.destroy();
  process.stdout.write(JSON.stringify(wait));
})().catch((error) => { console.error(error); process.exitCode = 1; });
`;

jest.setTimeout(180_000);

// On a terminal that only util-linux makes.
const onTerminal = hasPseudoTerminals() ? it : it.skip;

describeDiagonal('An incident whose leader is killed', (kind) => {
  let project: Project;
  let database: TestDatabase;

  beforeAll(async () => {
    project = createProject(typeormMajor);
    chmodSync(project.write('clinic.key', randomBytes(32).toString('hex')), 0o600);
    project.write('data-source.js', DATA_SOURCE);
    project.write('seed.js', SEED);
    project.write('leader.js', LEADER);
    database = await kind.create();
    expect(await project.run('node', ['seed.js'], env())).toMatchObject({ code: 0, stderr: '' });
  });
  afterAll(async () => {
    project.dispose();
    await database.dispose();
  });

  const env = (more: Record<string, string> = {}): Record<string, string> => ({
    TEST_DATABASE: JSON.stringify(database.dataSourceOptions),
    ...more,
  });
  const command = (...args: string[]): Promise<Outcome> =>
    project.run('field-encryption', ['-d', 'data-source.js', ...args], env());

  async function lead(killAt: string, about: Record<string, string>): Promise<number | null> {
    const child = project.start('node', ['leader.js'], env({ KILL_AT: killAt, ...about }));
    const [errors] = await Promise.all([text(child.stderr), once(child, 'close')]);
    expect(errors).toBe('');
    return child.exitCode;
  }

  async function statusOf(): Promise<IncidentReport> {
    const { stdout } = await command('incident', 'status', '--json');
    const { incidents } = JSON.parse(stdout) as { incidents: IncidentReport[] };
    expect(incidents).toHaveLength(1);
    return incidents[0]!;
  }

  it('goes on by the command, does nothing twice, and verifies its report', async () => {
    const { keys } = JSON.parse((await command('keys', 'list', '--json')).stdout) as {
      keys: { id: string }[];
    };
    const key = keys[0]!.id;
    expect(await lead('replace', { KEY: key })).toBeNull();
    const { id } = await statusOf();
    for (const killAt of ['reencrypt', 'rows', 'verify', 'destroy', 'close']) {
      expect(await lead(killAt, { INCIDENT: id })).toBeNull();
    }
    const asked = await command('incident', 'resume', id);
    expect(asked).toMatchObject({ code: 2, stderr: expect.stringContaining('--yes') });
    const resumed = await command('incident', 'resume', id, '--grace', '0', '--yes');
    expect(resumed).toMatchObject({ code: 0, stdout: expect.stringContaining('(closed ') });

    const incident = await statusOf();
    expect(incident).toMatchObject({
      exposed: { rows: 200 },
      keys: [{ id: key, state: 'destroyed', rows: 200 }],
      closed: expect.any(String),
    });
    const done = incident.entries.filter(({ outcome }) => outcome === 'done');
    for (const step of ['replace', 'reencrypt', 'verify', 'destroy', 'close']) {
      const ends = done.filter(({ keyPurpose, keyName }) => keyPurpose === step && keyName === '');
      expect(ends).toHaveLength(1);
    }
    expect(done.filter(({ operation }) => operation === 'revoke')).toHaveLength(1);
    expect(done.filter(({ operation }) => operation === 'destroy')).toHaveLength(1);

    expect(await command('incident', 'report', id, '--output', 'incident')).toMatchObject({
      code: 0,
    });
    project.write('clinic.pub', (await command('keys', 'public')).stdout);
    const verified = await project.run(
      'field-encryption',
      ['report', 'verify', 'incident', '--public-key', 'clinic.pub'],
      env(),
    );
    expect(verified).toMatchObject({ code: 0, stdout: expect.stringContaining('Verified.') });
  });

  onTerminal('asks before each step, and waits where somebody says no', async () => {
    const { keys } = JSON.parse((await command('keys', 'list', '--json')).stdout) as {
      keys: { id: string; state: string }[];
    };
    const key = keys.find(({ state }) => state === 'active')!.id;
    const typing = (args: string, answers: [RegExp, string][]): Promise<string> => {
      const line = `field-encryption -d data-source.js incident ${args}`;
      return typeInto(project.start(TERMINAL, onTerminalOf(line), env()), answers);
    };
    const start = `start --key ${key} --grace 0 --reason practice`;
    const first = await typing(start, [
      [/Type replace to go on: /, 'replace\r'],
      [/Type reencrypt to go on: /, 'no\r'],
    ]);
    expect(first).toContain('1 key, 200 values under compromised ones');
    expect(first).toContain('It waits in "reencrypt" since it was not confirmed.');
    const id = /incident resume ([0-9a-f]{16})/.exec(first)![1]!;
    const status = await command('incident', 'status', id);
    expect(status.stdout).toContain('It waits in "reencrypt"');
    const steps = ['reencrypt', 'verify', 'destroy', 'close'];
    const last = await typing(
      `resume ${id} --grace 0`,
      steps.map((step) => [new RegExp(`Type ${step} to go on: `), `${step}\r`]),
    );
    expect(last).toContain(`Incident ${id} (closed`);
  });

  it('is wrong usage without a target, with two, or without a reason', async () => {
    for (const args of [
      ['--reason', 'practice'],
      ['--key', '0123456789abcdef', '--branch', 'branch', '--reason', 'practice'],
      ['--key', '0123456789abcdef'],
    ]) {
      expect(await command('incident', 'start', ...args)).toMatchObject({ code: 2 });
    }
    const unknown = await command(
      'incident',
      'start',
      '--key',
      '0123456789abcdef',
      '--reason',
      'x',
      '--yes',
    );
    expect(unknown).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('ERR_KEY_NOT_FOUND'),
    });
  });
});
