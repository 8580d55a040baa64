import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, FieldEncryptionError, localKms } from '../../src';
import { SETTLING_MS } from '../../src/keys/store/watched-key-store';
import { isTransientConflict } from '../../src/typeorm/connection/transient-conflict';
import { moveDatabaseClock } from '../support/database-clock';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { createProject } from '../support/project';
import type { Project } from '../support/project';
import { Cleanup, protect } from '../support/protected-database';

@Entity()
class Reading {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() value!: string;
}

/** `npm run test:loss` does ten. */
const ROUNDS = Number(process.env['LOSS_ROUNDS'] ?? 1);
/** Short enough to be waited for. */
const CACHE = { ttlMs: 200, maxAgeMs: 1500 };

/**
 * Inserts without end, with more at a time than there are connections, and says which rows are
 * committed. With STEPS it does so in transactions that stay open for some time.
 */
const WRITER = `
require('reflect-metadata');
const { setTimeout: sleep } = require('node:timers/promises');
const { DataSource, EntitySchema } = require('typeorm');
const { blindIndexColumns, encryptedColumn, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const Reading = new EntitySchema({
  name: 'Reading',
  columns: { id: { type: Number, primary: true }, value: encryptedColumn(), ...blindIndexColumns('value') },
});
const dataSource = withFieldEncryption(
  new DataSource({ ...JSON.parse(process.env.DATABASE), entities: [Reading], poolSize: 2 }),
  { kms: localKms({ keyFile: process.env.KEY_FILE }), keyCache: JSON.parse(process.env.CACHE) },
);
const steps = Number(process.env.STEPS);
let next = Number(process.env.FIRST_ID);
let stopping = false;
process.stdin.on('end', () => { stopping = true; }).resume();
const say = (line) => process.stdout.write(line + '\\n');
const row = (id) => ({ id, value: 'value ' + id });
const isBusy = (error) => /BUSY|DEADLOCK|database is locked|current transaction is aborted/.test(error.message + error.code);
async function lane() {
  while (!stopping) {
    const ids = Array.from({ length: Math.max(1, steps) }, () => next++);
    try {
      if (steps === 0) await dataSource.getRepository('Reading').insert(row(ids[0]));
      else {
        await dataSource.transaction(async (manager) => {
          for (const id of ids) {
            await manager.insert('Reading', row(id));
            await sleep(Math.random() * 30);
          }
        });
      }
      say('committed ' + ids.join(','));
    } catch (error) {
      if (!error.retryable && !isBusy(error)) say('error ' + (error.stack ?? error));
      else say('retry ' + error.code);
      await sleep(5);
    }
    // SQLite has one lock, which others want, too.
    await sleep(steps === 0 ? 1 : 40);
  }
}
(async () => {
  await dataSource.initialize();
  const lanes = steps > 0 && /sqlite/.test(dataSource.options.type) ? 1 : 8;
  await Promise.all(Array.from({ length: lanes }, lane));
  await dataSource.destroy();
})().catch((error) => say('error ' + error.stack));
`;

/** A process that writes, and what it said of it. */
class Writer {
  readonly committed: number[] = [];
  readonly errors: string[] = [];
  retries = 0;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #closed: Promise<unknown>;

  constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    this.#closed = once(child, 'close');
    child.stderr.on('data', (data) => this.errors.push(String(data)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.#hear(line);
    });
  }

  #hear(line: string): void {
    const [what, ...rest] = line.split(' ');
    if (what === 'committed') this.committed.push(...String(rest[0]).split(',').map(Number));
    else if (what === 'retry') this.retries += 1;
    else this.errors.push(line);
  }

  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void {
    this.#child.kill(name);
  }

  async hasWritten(rows: number): Promise<void> {
    const from = this.committed.length;
    while (this.committed.length < from + rows && this.errors.length === 0) await sleep(5);
  }

  async end(): Promise<void> {
    this.#child.stdin.end();
    await this.#closed;
  }

  async killed(): Promise<void> {
    this.signal('SIGKILL');
    await this.#closed;
  }
}

const folder = mkdtempSync(join(tmpdir(), 'field-encryption-loss-'));
const keyFile = join(folder, 'kek');
let project: Project;

beforeAll(() => {
  writeFileSync(keyFile, randomBytes(32), { mode: 0o600 });
  project = createProject(typeormMajor);
  project.write('writer.js', WRITER);
});
afterAll(() => {
  project.dispose();
  rmSync(folder, { recursive: true, force: true });
});

jest.setTimeout(60_000 + ROUNDS * 60_000);

describeDiagonal('No row is lost', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;
  let ahead: number;
  let firstId: number;

  beforeEach(async () => {
    ahead = 0;
    firstId = 1;
    database = await cleanup.create(kind, { entities: [Reading], synchronize: true });
    // A stopped process may have SQLite's lock, and the drivers block while they wait for it.
    const impatient = { ...database.dataSourceOptions, timeout: 200, busyTimeout: 200 } as never;
    const options = { kms: localKms({ keyFile }), keyCache: CACHE };
    dataSource = cleanup.add(protect({ ...database, dataSourceOptions: impatient }, options));
    moveDatabaseClock(dataSource, () => ahead);
    await dataSource.initialize();
    if (kind.dialect === 'sqlite') await dataSource.query('PRAGMA journal_mode = WAL');
  });
  afterEach(() => cleanup.run());

  function writer(steps: number): Writer {
    const started = new Writer(
      project.start('node', ['writer.js'], {
        DATABASE: JSON.stringify({
          ...database.dataSourceOptions,
          entities: undefined,
          synchronize: false,
        }),
        KEY_FILE: keyFile,
        CACHE: JSON.stringify(CACHE),
        STEPS: String(steps),
        FIRST_ID: String(firstId),
      }),
    );
    firstId += 1_000_000;
    return started;
  }

  /** Whether it was done; not while somebody has the database locked, or transactions open. */
  async function isDone(work: () => Promise<unknown>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (error instanceof FieldEncryptionError) {
        if (error.retryable || error.code === 'ERR_KEY_STATE') return false;
      }
      if (isTransientConflict(error)) return false;
      throw error;
    }
  }

  /** Rotates, re-encrypts, and erases the old key as soon as that is allowed. */
  async function replaceKey(meanwhile: () => void): Promise<'at once' | 'later'> {
    const { keys } = fieldEncryption(dataSource);
    const old = (await keys.list()).find(({ state }) => state === 'active');
    const id = String(old?.id);
    const steps = [
      () => keys.rotate(),
      async () => {
        await fieldEncryption(dataSource).reencrypt();
        await sleep(CACHE.maxAgeMs + 500);
        ahead += SETTLING_MS;
        await keys.destroy(id, { waitMs: 100 });
      },
    ];
    let outcome: 'at once' | 'later' = 'at once';
    for (const step of steps) {
      while (!(await isDone(step))) {
        outcome = 'later';
        meanwhile();
      }
    }
    meanwhile();
    return outcome;
  }

  async function expectAllReadable(committed: readonly number[]): Promise<void> {
    const found = await dataSource.getRepository(Reading).find();
    const values = new Map(found.map(({ id, value }) => [id, value]));
    const lost = committed.filter((id) => values.get(id) !== `value ${String(id)}`);
    expect(lost).toEqual([]);
  }

  it.each([
    ['statements that wait for their turn', 0],
    ['open transactions', 4],
  ])('when a process with %s is stopped while its key is replaced and erased', async (_, steps) => {
    const writing = writer(steps);
    const outcomes: string[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      await writing.hasWritten(40);
      await sleep(Math.random() * 40);
      writing.signal('SIGSTOP');
      outcomes.push(
        await replaceKey(() => {
          writing.signal('SIGCONT');
        }),
      );
    }
    await writing.hasWritten(20);
    await writing.end();

    expect(writing.errors).toEqual([]);
    await expectAllReadable(writing.committed);
    report(`stopped, ${String(steps)} steps`, [writing], outcomes);
  });

  it('when processes are killed at any moment, and the keys that they wrote with erased', async () => {
    const writers: Writer[] = [];
    const outcomes: string[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      const killed = writer(round % 2 === 0 ? 4 : 0);
      writers.push(killed);
      await killed.hasWritten(40);
      await sleep(Math.random() * 40);
      await killed.killed();
      outcomes.push(await replaceKey(() => undefined));
    }
    expect(writers.flatMap(({ errors }) => errors)).toEqual([]);
    await expectAllReadable(writers.flatMap(({ committed }) => committed));
    report('killed', writers, outcomes);
  });

  /** What a long test run is for. */
  function report(what: string, writers: readonly Writer[], outcomes: readonly string[]): void {
    if (ROUNDS === 1) return;
    const rows = writers.reduce((sum, { committed }) => sum + committed.length, 0);
    const retries = writers.reduce((sum, each) => sum + each.retries, 0);
    const later = outcomes.filter((outcome) => outcome === 'later').length;
    process.stderr.write(
      `${kind.name}, ${what}: ${String(ROUNDS)} rounds, ${String(rows)} rows, none lost; ` +
        `${String(retries)} writes refused and tried again, ${String(later)} keys erased later\n`,
    );
  }
});
