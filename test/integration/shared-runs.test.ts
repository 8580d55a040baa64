import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EntitySchema } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  blindIndexColumns,
  ConfigurationError,
  encryptedColumn,
  fieldEncryption,
  localKms,
} from '../../src';
import type { RunReport } from '../../src';
import { enqueueRun, workOnRuns } from '../../src/reencryption/pg-boss';
import type { QueueReport } from '../../src/reencryption/pg-boss';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { heldBefore } from '../support/held-statement';
import type { Held } from '../support/held-statement';
import { createProject, outcomeOf } from '../support/project';
import type { Outcome, Project } from '../support/project';
import { Cleanup, protect, rejection } from '../support/protected-database';

/** Six ranges of 20 pages of two rows. */
const ROWS = 240;
const PAGE = 2;

interface PatientRow {
  id: number;
  email: string;
  ssn: string | null;
}

const Patient = new EntitySchema<PatientRow>({
  name: 'Patient',
  columns: {
    id: { type: Number, primary: true },
    email: encryptedColumn(),
    ...blindIndexColumns('email'),
    ssn: encryptedColumn({ check: false, nullable: true }),
  },
});

/**
 * An application whose processes stop when they have got their first range, until the test lets them
 * go on: so each of them has one, and a test knows where they are.
 */
const APPLICATION = `
const { existsSync, writeFileSync } = require('node:fs');
const { EntitySchema, DataSource } = require('typeorm');
const { blindIndexColumns, encryptedColumn, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const Patient = new EntitySchema({
  name: 'Patient',
  columns: {
    id: { type: Number, primary: true },
    email: encryptedColumn(),
    ...blindIndexColumns('email'),
    ssn: encryptedColumn({ check: false, nullable: true }),
  },
});
const dataSource = new DataSource({ ...JSON.parse(process.env.TEST_DATABASE), entities: [Patient] });
const gate = process.env.TEST_GATE;
const slowed = new WeakSet();
const createQueryRunner = dataSource.createQueryRunner.bind(dataSource);
dataSource.createQueryRunner = (mode) => {
  const runner = createQueryRunner(mode);
  // SQLite has one for all.
  if (slowed.has(runner)) return runner;
  slowed.add(runner);
  const query = runner.query;
  runner.query = async function (sql, ...rest) {
    const result = await query.call(this, sql, ...rest);
    // One that was taken by another process in between is asked for in vain.
    const isMine = (result?.affected ?? result?.[1]) !== 0;
    if (gate !== undefined && isMine && /^UPDATE .*field_encryption_ranges.*["\x60]owner/.test(sql)) {
      writeFileSync(gate + '/' + process.pid, '');
      while (!existsSync(gate + '/go')) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return result;
  };
  return runner;
};
exports.dataSource = withFieldEncryption(dataSource, { kms: localKms({ keyFile: 'clinic.key' }) });
`;

jest.setTimeout(240_000);

describeDiagonal('A run that several workers share', (kind) => {
  const cleanup = new Cleanup();
  let project: Project;
  let gate: string;
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeAll(() => {
    project = createProject(typeormMajor);
    chmodSync(project.write('clinic.key', randomBytes(32).toString('hex')), 0o600);
    project.write('data-source.js', APPLICATION);
    gate = join(project.folder, 'gate');
  });
  beforeEach(async () => {
    mkdirSync(gate);
    database = await cleanup.create(kind, { entities: [Patient], synchronize: true });
    dataSource = await handle();
    await dataSource.getRepository(Patient).insert(
      Array.from({ length: ROWS }, (_, i) => ({
        id: i + 1,
        email: `canary.${String(i)}@example.org`,
        ssn: i % 3 === 0 ? null : `canary ${String(i)}`,
      })),
    );
    await fieldEncryption(dataSource).keys.rotate();
  });
  afterEach(async () => {
    rmSync(gate, { recursive: true });
    await cleanup.run();
  });
  afterAll(() => {
    project.dispose();
  });

  async function handle(): Promise<DataSource> {
    const kms = localKms({ keyFile: join(project.folder, 'clinic.key') });
    // better-sqlite3 blocks the thread in which another handle would give the lock back.
    const wait = kind.name === 'better-sqlite3' ? { timeout: 20 } : {};
    const options = { ...database.dataSourceOptions, ...wait } as never;
    return cleanup.add(protect({ ...database, dataSourceOptions: options }, { kms })).initialize();
  }

  function start(...args: string[]): ChildProcessWithoutNullStreams {
    return startOn(database.dataSourceOptions, ...args);
  }

  function startOn(options: object, ...args: string[]): ChildProcessWithoutNullStreams {
    return project.start('field-encryption', ['-d', 'data-source.js', 'data', ...args], {
      TEST_DATABASE: JSON.stringify(options),
      TEST_GATE: gate,
    });
  }

  /** Waits until so many processes have a range, and answers their ids. */
  async function held(count: number): Promise<number[]> {
    while (readdirSync(gate).length < count) await sleep(20);
    return readdirSync(gate).map(Number);
  }

  function letGo(): void {
    project.write('gate/go', '');
  }

  async function expectAllUnderNewKey(): Promise<void> {
    const versions = (await fieldEncryption(dataSource).status()).flatMap(({ keys }) =>
      keys.map(({ version, rows }) => [version, rows]),
    );
    expect(versions).toEqual([
      [2, ROWS],
      [2, (ROWS * 2) / 3],
    ]);
    const patient = await dataSource.getRepository(Patient).findOneByOrFail({ id: 7 });
    expect(patient).toMatchObject({ email: 'canary.6@example.org', ssn: null });
  }

  /** Ranges that somebody has and nobody else could take at once. */
  async function leases(): Promise<number> {
    const [row] = await dataSource.query<{ count: string | number }[]>(
      'SELECT COUNT(*) AS count FROM field_encryption_ranges WHERE done = 0 AND lease_until > 0',
    );
    return Number(row?.count);
  }

  /** Holds a handle that has begun the second pass and is about to cut its first range. */
  function heldInSecondPass(at: DataSource): Held {
    let isSecondPass = false;
    return heldBefore(at, (sql) => {
      if (/^UPDATE .*field_encryption_runs.*["`]pass/.test(sql)) isSecondPass = true;
      return isSecondPass && /^INSERT .*field_encryption_ranges/.test(sql);
    });
  }

  function documentOf({ stdout }: Outcome): RunReport {
    return JSON.parse(stdout) as RunReport;
  }

  it('is divided among handles, each row being done once', async () => {
    const handles = await Promise.all([handle(), handle(), handle(), handle()]);
    const waiting = new Set<DataSource>();
    const reports = await Promise.all(
      handles.map((each) =>
        fieldEncryption(each).reencrypt({
          batchSize: PAGE,
          // Asked when there is a page to be written.
          pauseWhile: () => waiting.add(each).size < handles.length,
        }),
      ),
    );
    for (const { changed } of reports) expect(changed).toBeGreaterThan(0);
    expect(reports.reduce((sum, { changed }) => sum + changed, 0)).toBe(ROWS);
    expect(reports.map(({ remaining, failed }) => [remaining, failed])).toEqual(
      handles.map(() => [0, 0]),
    );
    await expectAllUnderNewKey();
  });

  it('has a row that fails in one report, though several passes find it', async () => {
    await dataSource.query("UPDATE patient SET ssn = 'damaged' WHERE id = 50");
    const handles = [await handle(), await handle()];
    const waiting = new Set<DataSource>();
    const reports = await Promise.all(
      handles.map((each) =>
        fieldEncryption(each).reencrypt({
          batchSize: PAGE,
          pauseWhile: () => waiting.add(each).size < handles.length,
        }),
      ),
    );
    expect(reports.reduce((sum, { changed }) => sum + changed, 0)).toBe(ROWS - 1);
    expect(reports.flatMap(({ failures }) => failures)).toEqual([
      expect.objectContaining({ entity: 'Patient', property: 'ssn', primaryKey: [50] }),
    ]);
    expect(reports.map(({ remaining }) => remaining)).toEqual([1, 1]);
  });

  it('ends for a worker that was late to cut a range, without doing it once more', async () => {
    await dataSource.query("UPDATE patient SET ssn = 'damaged' WHERE id = 50");
    const late = await handle();
    const cutting = heldInSecondPass(late);
    const outcome = fieldEncryption(late).reencrypt({ batchSize: PAGE });
    await cutting.reached;

    const last = await fieldEncryption(dataSource).reencrypt({ batchSize: PAGE });
    cutting.letGo();
    expect(last).toMatchObject({ changed: 0, failed: 1, remaining: 1 });
    expect(await outcome).toMatchObject({ changed: ROWS - 1, failed: 0, remaining: 1 });
    expect(await dataSource.query('SELECT * FROM field_encryption_ranges')).toEqual([]);
  });

  it('is divided among processes, and one that is killed leaves its range to the others', async () => {
    const group = start('reencrypt', '--workers', '4', '--batch-size', String(PAGE), '--json');
    const outcome = outcomeOf(group);
    const victim = (await held(4)).find((pid) => pid !== group.pid)!;
    process.kill(victim, 'SIGKILL');
    letGo();

    expect(await outcome).toMatchObject({ code: 0, stderr: '' });
    expect(documentOf(await outcome)).toMatchObject({
      scanned: ROWS,
      changed: ROWS,
      skipped: 0,
      conflicts: 0,
      failed: 0,
      aborted: false,
      resumed: false,
      remaining: 0,
    });
    await expectAllUnderNewKey();
  });

  it('is checkpointed by all processes when the first is told to end', async () => {
    const group = start('reencrypt', '--workers', '2', '--batch-size', String(PAGE), '--json');
    const outcome = outcomeOf(group);
    await held(2);
    group.kill('SIGTERM');
    letGo();

    expect(await outcome).toMatchObject({ code: 130, stderr: '' });
    const { aborted, changed, remaining } = documentOf(await outcome);
    expect({ aborted, remaining }).toEqual({ aborted: true, remaining: null });
    const outcomesOf = async () =>
      (await fieldEncryption(dataSource).audit.list()).map((entry) => entry.outcome);
    expect((await outcomesOf()).slice(-2)).toEqual(['started', 'interrupted']);
    expect(await leases()).toBe(0);

    const rest = await outcomeOf(start('reencrypt', '--workers', '2', '--json'));
    expect(rest.code).toBe(0);
    expect(documentOf(rest)).toMatchObject({
      scanned: ROWS,
      changed: ROWS - changed,
      doneBefore: changed,
      resumed: true,
      remaining: 0,
    });
    await expectAllUnderNewKey();
  });

  it('has an end in the audit log, though its process was killed', async () => {
    const process = start('reencrypt', '--batch-size', String(PAGE));
    const outcome = outcomeOf(process);
    await held(1);
    process.kill('SIGKILL');
    await outcome;

    expect(await fieldEncryption(dataSource).reencrypt()).toMatchObject({ remaining: 0 });
    const entries = await fieldEncryption(dataSource).audit.list();
    const outcomes = entries.map(({ outcome: how, reference }) => [how, reference]).slice(-4);
    const run = outcomes[0]?.[1];
    expect(outcomes).toEqual([
      ['started', run],
      ['interrupted', run],
      ['started', run],
      ['done', run],
    ]);
  });

  if (kind.type !== 'postgres') {
    it('has a queue in PostgreSQL only', async () => {
      const error = await rejection(enqueueRun(dataSource, 'reencrypt'));
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toContain('--workers');
    });
    return;
  }

  async function enqueue(): Promise<void> {
    const outcome = await outcomeOf(
      start('reencrypt', '--queue', 'pg-boss', '--batch-size', String(PAGE), '--json'),
    );
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    // One for each range, and one for the rest.
    expect(documentOf(outcome)).toMatchObject({ runs: [{ entity: 'Patient', jobs: 13 }] });
  }

  function workDocumentOf({ stdout }: Outcome): QueueReport {
    return JSON.parse(stdout) as QueueReport;
  }

  /** What docs/data-runs-workers.md says is enough once the queue is there. */
  async function asApplication(): Promise<{ options: object; drop: () => Promise<void> }> {
    const role = `app_${randomBytes(6).toString('hex')}`;
    await dataSource.query(`CREATE ROLE ${role} LOGIN PASSWORD '${role}'`);
    for (const schema of ['public', 'field_encryption_queue']) {
      await dataSource.query(`GRANT USAGE ON SCHEMA ${schema} TO ${role}`);
      await dataSource.query(
        `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${schema} TO ${role}`,
      );
    }
    const url = new URL((database.dataSourceOptions as { url: string }).url);
    url.username = url.password = role;
    return {
      options: { ...database.dataSourceOptions, url: url.href },
      drop: async () => {
        await dataSource.query(`DROP OWNED BY ${role}`);
        await dataSource.query(`DROP ROLE ${role}`);
      },
    };
  }

  it('is done by workers that take it from a queue', async () => {
    await enqueue();
    const { options, drop } = await asApplication();
    const workers = [
      startOn(options, 'work', '--once', '--json'),
      startOn(options, 'work', '--once', '--json'),
    ];
    const outcomes = Promise.all(workers.map(outcomeOf));
    await held(2);
    letGo();

    const documents: QueueReport[] = [];
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({ code: 0, stderr: '' });
      documents.push(workDocumentOf(outcome));
    }
    const changed = documents.map(({ runs }) => runs[0]?.changed ?? 0);
    for (const count of changed) expect(count).toBeGreaterThan(0);
    expect(changed[0]! + changed[1]!).toBe(ROWS);
    expect(documents[0]!.jobs + documents[1]!.jobs).toBe(13);
    for (const { runs, failedJobs } of documents) {
      expect({ failedJobs, remaining: runs[0]?.remaining }).toEqual({
        failedJobs: 0,
        remaining: 0,
      });
    }
    await expectAllUnderNewKey();
    expect(await enqueueRun(dataSource, 'reencrypt')).toEqual({ runs: [], resumed: false });
    await drop();
  });

  it('loses nothing when a worker of the queue is stopped or killed', async () => {
    await enqueue();
    const stopped = start('work', '--json');
    const killed = start('work', '--json');
    const outcomes = [outcomeOf(stopped), outcomeOf(killed)] as const;
    await held(2);
    killed.kill('SIGKILL');
    await outcomes[1];
    stopped.kill('SIGTERM');
    letGo();

    expect(await outcomes[0]).toMatchObject({ code: 130, stderr: '' });
    const first = workDocumentOf(await outcomes[0]);
    expect(first).toMatchObject({ aborted: true, failedJobs: 0 });
    // That of the killed one alone, until it is found dead.
    expect(await leases()).toBe(1);

    const report = await workOnRuns(dataSource, { once: true });
    expect(report).toMatchObject({ failedJobs: 0, aborted: false, runs: [{ remaining: 0 }] });
    expect(report.runs[0]!.changed + first.runs[0]!.changed).toBe(ROWS);
    await expectAllUnderNewKey();
  });

  it('is not begun, changed or turned into cleartext by what somebody writes into the queue', async () => {
    const { runs } = await enqueueRun(dataSource, 'reencrypt', { first: { Patient: 'id > 200' } });
    const forge = (change: object): Promise<unknown> =>
      dataSource.query(
        "INSERT INTO field_encryption_queue.job (name, data, policy, priority) VALUES ('field-encryption', $1, 'standard', 99)",
        [
          {
            share: 'rest',
            run: runs[0]!.run,
            mode: 'reencrypt',
            columns: ['Patient.email'],
            ...change,
          },
        ],
      );
    await forge({ mode: 'decrypt' });
    await forge({ run: randomBytes(16).toString('hex') });
    await forge({ first: { Patient: '1 = 1' } });
    await forge({});
    const failures = new Set<string>();

    const report = await workOnRuns(dataSource, {
      once: true,
      onJobFailed: ({ code, message }) => failures.add(`${code}: ${message}`),
    });

    expect(report).toMatchObject({ jobs: 0, runs: [] });
    expect([...failures].sort()).toEqual([
      expect.stringMatching(/^ERR_RUN_PLAN: A job of the queue has an unknown option "first"/),
      expect.stringMatching(/^ERR_RUN_PLAN: A job of the queue is to decrypt/),
      expect.stringMatching(/^ERR_RUN_PLAN: The reencrypt of .*patient .* of other columns/),
      expect.stringMatching(/^ERR_RUN_PLAN: There is no reencrypt [0-9a-f]{32} in this database/),
    ]);
    const [oldKey] = (await fieldEncryption(dataSource).status())[0]!.keys;
    expect(oldKey).toMatchObject({ version: 1, rows: ROWS });
  });
});
