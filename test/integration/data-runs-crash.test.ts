import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Column, Entity, PrimaryColumn, UpdateDateColumn, VersionColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, localKms } from '../../src';
import type { RunReport } from '../../src';
import { createProject } from '../support/project';
import type { Project } from '../support/project';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';
import { rawRows } from '../support/stored-rows';
import type { Row } from '../support/stored-rows';

@Entity()
class Account {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() email!: string;
  @Encrypted() note!: string;
  @Column({ default: 0 }) visits!: number;
  @VersionColumn() version!: number;
  @UpdateDateColumn() updatedAt!: Date;
}

/**
 * Re-encrypts, and prints the report. Kills itself after some pages, at any point of the next one: a
 * thread does it, which waits for nothing, and where that is late, the end of the page after.
 */
const WORKER = `
require('reflect-metadata');
const { Worker } = require('node:worker_threads');
const { DataSource, EntitySchema } = require('typeorm');
const { blindIndexColumns, encryptedColumn, fieldEncryption, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const Account = new EntitySchema({
  name: 'Account',
  columns: { id: { type: Number, primary: true }, email: encryptedColumn(), note: encryptedColumn(), ...blindIndexColumns('email') },
});
const dataSource = withFieldEncryption(
  new DataSource({ ...JSON.parse(process.env.DATABASE), entities: [Account] }),
  { kms: localKms({ keyFile: process.env.KEY_FILE }) },
);
const pages = Number(process.env.KILL_AFTER);
const killer = pages > 0 && new Worker(
  \`require('node:worker_threads').parentPort.once('message', (ms) => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
    process.kill(process.pid, 'SIGKILL');
  })\`,
  { eval: true },
);
let done = 0;
function onProgress() {
  if (!killer) return;
  done += 1;
  if (done === pages) killer.postMessage(Math.random() * 2);
  if (done === pages + 2) process.kill(process.pid, 'SIGKILL');
}
(async () => {
  if (killer) await new Promise((resolve) => killer.once('online', resolve));
  await dataSource.initialize();
  const report = await fieldEncryption(dataSource).reencrypt({
    batchSize: Number(process.env.BATCH_SIZE),
    onProgress,
  });
  await dataSource.destroy();
  process.stdout.write(JSON.stringify(report));
})().catch((error) => { console.error(error); process.exitCode = 1; });
`;

/** With more of each it takes some minutes: `npm run test:scale`. */
const ROWS = Number(process.env['RUN_ROWS'] ?? 500);
const BATCH_SIZE = Number(process.env['RUN_PAGE'] ?? 10);
const KILLS = Number(process.env['RUN_KILLS'] ?? 3);
/** Processes that share the rest after so many kills. */
const WORKERS = Number(process.env['RUN_WORKERS'] ?? 2);

const folder = mkdtempSync(join(tmpdir(), 'field-encryption-runs-'));
const keyFile = join(folder, 'kek');
let project: Project;

beforeAll(() => {
  writeFileSync(keyFile, randomBytes(32), { mode: 0o600 });
  project = createProject(typeormMajor);
  project.write('worker.js', WORKER);
});
afterAll(() => {
  project.dispose();
  rmSync(folder, { recursive: true, force: true });
});

jest.setTimeout(ROWS > 1000 ? 1_800_000 : 120_000);

describeDiagonal('a run that is killed', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Account], synchronize: true });
    dataSource = cleanup.add(protect(database, { kms: localKms({ keyFile }) }));
    await dataSource.initialize();
    // A writer and the runs are processes of their own.
    if (kind.dialect === 'sqlite') await dataSource.query('PRAGMA journal_mode = WAL');
  });
  afterEach(() => cleanup.run());

  /** Runs the worker, which is killed after so many pages. */
  async function work(pages = 0): Promise<RunReport | undefined> {
    const child = project.start('node', ['worker.js'], {
      DATABASE: JSON.stringify({
        ...database.dataSourceOptions,
        entities: undefined,
        synchronize: false,
      }),
      KEY_FILE: keyFile,
      BATCH_SIZE: String(BATCH_SIZE),
      KILL_AFTER: String(pages),
    });
    const closed = once(child, 'close') as Promise<[number | null]>;
    const output = await text(child.stdout);
    const [code] = await closed;
    expect(code).toBe(pages > 0 ? null : 0);
    return output === '' ? undefined : (JSON.parse(output) as RunReport);
  }

  it('goes on where it stopped and loses no write of the application', async () => {
    const accounts = dataSource.getRepository(Account);
    const last = new Map<number, string>();
    for (let at = 0; at < ROWS; at += 200) {
      const page = Array.from({ length: Math.min(200, ROWS - at) }, (_, i) => ({
        id: at + i,
        email: `a${String(at + i)}@x.org`,
        note: `start ${String(at + i)}`,
      }));
      await accounts.insert(page);
      for (const { id, note } of page) last.set(id, note);
    }
    const before = await rawRows(dataSource, Account);
    const [old] = await fieldEncryption(dataSource).keys.list();
    const active = await fieldEncryption(dataSource).keys.rotate();

    const touched = new Set<number>();
    const done = new AbortController();
    const writer = (async () => {
      for (let n = 0; !done.signal.aborted; n++) {
        const id = Math.floor(Math.random() * ROWS);
        touched.add(id);
        await accounts.update({ id }, { note: `write ${String(n)}` });
        last.set(id, `write ${String(n)}`);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })();
    for (let kill = 0; kill < KILLS; kill++) {
      const pages = 1 + Math.floor(Math.random() * ((ROWS / BATCH_SIZE / KILLS) * 0.8));
      expect(await work(pages)).toBeUndefined();
      await expectCheckpoint(active.id, touched);
    }
    const reports = await Promise.all(Array.from({ length: WORKERS }, () => work()));
    done.abort();
    await writer;

    for (const report of reports) {
      expect(report).toMatchObject({ resumed: true, failed: 0, conflicts: 0, remaining: 0 });
    }
    expect(touched.size).toBeGreaterThan(5);
    const found = await accounts.find();
    expect(new Map(found.map(({ id, note }) => [id, note]))).toEqual(last);
    expect(await accounts.findOneBy({ email: 'a7@x.org' })).toMatchObject({ id: 7 });
    const after = await rawRows(dataSource, Account);
    const untouched = (rows: Row[]) => rows.filter(({ id }) => !touched.has(Number(id)));
    const rest = (row: Row) => ({ ...row, email: '', note: '' });
    expect(untouched(after).map(rest)).toEqual(untouched(before).map(rest));
    const [use] = await fieldEncryption(dataSource).status();
    expect(use?.keys).toEqual([expect.objectContaining({ keyId: active.id, rows: ROWS })]);
    expect(
      await fieldEncryption(dataSource).keys.destroy(String(old?.id), { graceMs: 0 }),
    ).toMatchObject({
      previousState: 'deactivated',
    });
  });

  /** Of each range all rows up to its checkpoint are done, and at most a page behind it. */
  async function expectCheckpoint(keyId: string, touched: ReadonlySet<number>): Promise<void> {
    const ranges: Record<'lower_key' | 'upper_key' | 'cursor_key', string | null>[] &
      { done: number }[] = await dataSource.query(
      'SELECT lower_key, upper_key, cursor_key, done FROM field_encryption_ranges WHERE pass = 0',
    );
    const idOf = (key: string | null, none: number) =>
      key === null ? none : Number((JSON.parse(key) as [string])[0]);
    const prefix = Buffer.from(`01${keyId}`, 'hex').toString('base64url');
    const rows = (await rawRows(dataSource, Account)).filter(({ id }) => !touched.has(Number(id)));
    const isDone = ({ email }: Row) => String(email).startsWith(prefix);
    let inRanges = 0;
    for (const { lower_key, upper_key, cursor_key, done } of ranges) {
      const lower = idOf(lower_key, -1);
      const upper = idOf(upper_key, ROWS);
      const cursor = done === 1 ? upper : idOf(cursor_key, lower);
      const from = (low: number, high: number) =>
        rows.filter(({ id }) => Number(id) > low && Number(id) <= high);
      expect(from(lower, cursor).every(isDone)).toBe(true);
      const behind = from(cursor, upper).filter(isDone);
      expect(behind.length).toBeLessThanOrEqual(BATCH_SIZE);
      inRanges += from(lower, cursor).length + behind.length;
    }
    expect(rows.filter(isDone)).toHaveLength(inRanges);
  }
});
