import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { Encrypted, fieldEncryption, KeyStateError, localKms } from '../../src';
import type { KeyInfo } from '../../src';
import { createProject } from '../support/project';
import type { Project } from '../support/project';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity()
class Item {
  @PrimaryColumn() id!: number;
  @Encrypted() text!: string;
}

@Entity()
class Plain {
  @PrimaryColumn() id!: number;
  @Column() text!: string;
}

const WORKER = `
require('reflect-metadata');
const { DataSource, EntitySchema } = require('typeorm');
const { encryptedColumn, fieldEncryption, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const Item = new EntitySchema({
  name: 'Item',
  columns: { id: { type: Number, primary: true }, text: encryptedColumn() },
});
const dataSource = withFieldEncryption(
  new DataSource({ ...JSON.parse(process.env.DATABASE), entities: [Item] }),
  { kms: localKms({ keyFile: process.env.KEY_FILE }) },
);
const startAt = Number(process.env.START_AT ?? 0);
const wait = () => new Promise((resolve) => setTimeout(resolve, Math.max(0, startAt - Date.now())));
(async () => {
  const [, , command] = process.argv;
  if (command === 'init') await wait();
  await dataSource.initialize();
  await fieldEncryption(dataSource).ready();
  if (command === 'rotate') {
    await wait();
    const key = await fieldEncryption(dataSource).keys.rotate();
    console.log('ROTATED ' + key.id);
  }
  if (command === 'rotate-for-ever') {
    process.stdout.write('READY\\n');
    for (;;) await fieldEncryption(dataSource).keys.rotate();
  }
  if (command === 'reencrypt-for-ever') {
    process.stdout.write('READY\\n');
    for (;;) {
      await fieldEncryption(dataSource).keys.rotate();
      await fieldEncryption(dataSource).reencrypt({ batchSize: 5 });
    }
  }
  if (command === 'init') console.log('INIT ' + (await fieldEncryption(dataSource).keys.list()).map(({ id }) => id));
  await dataSource.destroy();
})().catch((error) => { console.error(error); process.exitCode = 1; });
`;

const keyFolder = mkdtempSync(join(tmpdir(), 'field-encryption-shared-key-'));
const keyFile = join(keyFolder, 'kek');
let project: Project;

beforeAll(() => {
  writeFileSync(keyFile, randomBytes(32), { mode: 0o600 });
  project = createProject(typeormMajor);
  project.write('worker.js', WORKER);
});

afterAll(() => {
  project.dispose();
  rmSync(keyFolder, { recursive: true, force: true });
});

describeDiagonal('Keys among many processes', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Item, Plain], synchronize: true });
    // Only the tables: the processes make the keys.
    dataSource = cleanup.add(protect(database, { kms: localKms({ keyFile }) }));
  });
  afterEach(() => cleanup.run());

  const env = (more: Record<string, string> = {}): Record<string, string> => ({
    DATABASE: JSON.stringify({
      ...database.dataSourceOptions,
      entities: undefined,
      synchronize: false,
    }),
    KEY_FILE: keyFile,
    ...more,
  });

  const dataKeys = (): Promise<KeyInfo[]> => fieldEncryption(dataSource).keys.list();

  async function all(command: string, count: number) {
    const startAt = String(Date.now() + 2500);
    return Promise.all(
      Array.from({ length: count }, () =>
        project.run('node', ['worker.js', command], env({ START_AT: startAt })),
      ),
    );
  }

  /** Kills a process at a random moment of what it does. */
  async function killed(command: string): Promise<void> {
    const child = project.start('node', ['worker.js', command], env());
    let said = '';
    child.stderr.on('data', (data: Buffer) => (said += data.toString()));
    const ready = once(child.stdout, 'data');
    const exited = once(child, 'exit');
    await Promise.race([ready, exited.then(() => Promise.reject(new Error(said)))]);
    await sleep(5 + Math.random() * 150);
    child.kill('SIGKILL');
    await exited;
  }

  async function expectSound(): Promise<void> {
    const keys = await dataKeys();
    expect(keys.filter(({ state }) => state === 'active')).toHaveLength(1);
    expect(keys.map(({ version }) => version)).toEqual(keys.map((_, i) => i + 1));
    expect(keys.at(-1)?.state).toBe('active');
  }

  it('makes one active key when 8 processes initialize at once', async () => {
    await dataSource.initialize();
    await dataSource.query('DELETE FROM data_keys');
    await dataSource.query('DELETE FROM field_encryption_audit');
    const outcomes = await all('init', 8);
    expect(outcomes.map(({ code, output }) => (code === 0 ? '' : output)).join('')).toBe('');
    const ids = new Set(outcomes.map(({ output }) => /INIT (.*)/.exec(output)?.[1]));
    expect(ids.size).toBe(1);
    expect(await dataKeys()).toHaveLength(1);
  }, 60_000);

  it('has exactly one active key and no gap after 8 processes rotate at once', async () => {
    await dataSource.initialize();
    await fieldEncryption(dataSource).ready();
    const outcomes = await all('rotate', 8);
    expect(outcomes.map(({ code, output }) => (code === 0 ? '' : output)).join('')).toBe('');
    await expectSound();
    expect((await dataKeys()).length).toBeGreaterThan(1);
  }, 60_000);

  it('shows a rotation to another process within the ttl', async () => {
    await dataSource.initialize();
    const other = cleanup.add(
      protect(
        database,
        { kms: localKms({ keyFile }), keyCache: { ttlMs: 100, maxAgeMs: 60_000 } },
        { synchronize: false },
      ),
    );
    await other.initialize();
    await other.getRepository(Item).insert({ id: 1, text: 'before' });
    const rotated = await fieldEncryption(dataSource).keys.rotate();
    await dataSource.getRepository(Item).insert({ id: 2, text: 'elsewhere' });
    // What the new key encrypted can be read at once, whatever the ttl.
    expect(await other.getRepository(Item).findOneBy({ id: 2 })).toEqual({
      id: 2,
      text: 'elsewhere',
    });
    await sleep(150);
    await other.getRepository(Item).insert({ id: 3, text: 'starts the refresh' });
    await sleep(300);
    await other.getRepository(Item).insert({ id: 4, text: 'after' });
    const [row] = await other.query<{ text: string }[]>('SELECT text FROM item WHERE id = 4');
    expect(Buffer.from(row!.text, 'base64url').subarray(1, 9).toString('hex')).toBe(rotated.id);
  });

  it('reads everything after processes were killed in the middle of rotations', async () => {
    await dataSource.initialize();
    await dataSource.getRepository(Item).insert({ id: 1, text: 'first' });
    for (let round = 0; round < 6; round++) {
      await killed('rotate-for-ever');
      await expectSound();
      await dataSource.getRepository(Item).save({ id: round + 2, text: `round ${round}` });
    }
    const fresh = cleanup.add(
      protect(database, { kms: localKms({ keyFile }) }, { synchronize: false }),
    );
    await fresh.initialize();
    expect((await fresh.getRepository(Item).find()).map(({ text }) => text).sort()).toEqual(
      ['first', ...Array.from({ length: 6 }, (_, i) => `round ${i}`)].sort(),
    );
    await fieldEncryption(fresh).keys.rotate();
    await expectSound();
  }, 90_000);

  it('reads everything after processes were killed in the middle of re-encryption', async () => {
    await dataSource.initialize();
    const items = Array.from({ length: 300 }, (_, id) => ({ id, text: `text of ${id}` }));
    await dataSource.getRepository(Item).insert(items);
    for (let round = 0; round < 5; round++) {
      await killed('reencrypt-for-ever');
      expect(await dataSource.getRepository(Item).find({ order: { id: 'ASC' } })).toEqual(items);
    }
    const report = await fieldEncryption(dataSource).reencrypt();
    expect(report).toMatchObject({ scanned: 300, failed: 0, conflicts: 0 });
    await expectSound();
    const active = (await dataKeys()).find(({ state }) => state === 'active');
    expect((await fieldEncryption(dataSource).status())[0]?.keys).toMatchObject([
      { keyId: active?.id, rows: 300 },
    ]);
    expect(await dataSource.getRepository(Item).find({ order: { id: 'ASC' } })).toEqual(items);
  }, 90_000);

  it('loses no write while it re-encrypts', async () => {
    await dataSource.initialize();
    const items = dataSource.getRepository(Item);
    const last = new Map<number, string>();
    for (let id = 0; id < 200; id++) last.set(id, `start ${id}`);
    await items.insert([...last].map(([id, text]) => ({ id, text })));
    // Its own connection: as of another process.
    const writer = cleanup.add(
      protect(database, { kms: localKms({ keyFile }) }, { synchronize: false }),
    );
    await writer.initialize();

    const stop = new AbortController();
    let writes = 0;
    const writing = (async () => {
      while (!stop.signal.aborted) {
        const id = Math.floor(Math.random() * 200);
        const text = `write ${writes}`;
        await writer.getRepository(Item).update({ id }, { text });
        last.set(id, text);
        writes += 1;
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    for (let round = 0; round < 8; round++) {
      await fieldEncryption(dataSource).keys.rotate();
      expect(await fieldEncryption(dataSource).reencrypt({ batchSize: 10 })).toMatchObject({
        failed: 0,
      });
    }
    stop.abort();
    await writing;
    expect(writes).toBeGreaterThan(50);
    const found = await items.find();
    expect(new Map(found.map(({ id, text }) => [id, text]))).toEqual(last);
  }, 60_000);

  if (kind.dialect === 'sqlite') {
    it('says that a rotation has to wait while a transaction is open on the one connection', async () => {
      await dataSource.initialize();
      await fieldEncryption(dataSource).ready();
      const runner = dataSource.createQueryRunner();
      await runner.startTransaction();
      await runner.manager.insert(Item, { id: 1, text: 'in it' });
      const rotating = rejection(fieldEncryption(dataSource).keys.rotate());
      const error = await rotating;
      expect(error).toBeInstanceOf(KeyStateError);
      expect(error).toMatchObject({ retryable: true });
      await runner.rollbackTransaction();
      await runner.release();
      expect(await dataKeys()).toHaveLength(1);
      expect((await fieldEncryption(dataSource).keys.rotate()).version).toBe(2);
      expect(await dataSource.getRepository(Item).count()).toBe(0);
    }, 30_000);

    it('rotates once the transaction that was open has ended', async () => {
      await dataSource.initialize();
      await fieldEncryption(dataSource).ready();
      const runner = dataSource.createQueryRunner();
      await runner.startTransaction();
      await runner.manager.insert(Item, { id: 1, text: 'in it' });
      const rotating = fieldEncryption(dataSource).keys.rotate();
      await sleep(60);
      await runner.commitTransaction();
      await runner.release();
      expect((await rotating).version).toBe(2);
      expect(await dataSource.getRepository(Item).find()).toEqual([{ id: 1, text: 'in it' }]);
    }, 30_000);
  }
});
