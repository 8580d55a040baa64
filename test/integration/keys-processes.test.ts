import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { Encrypted, fieldEncryption, localKms } from '../../src';
import type { KeyInfo } from '../../src';
import { createProject, outcomeOf } from '../support/project';
import type { Outcome, Project } from '../support/project';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';

@Entity()
class Item {
  @PrimaryColumn() id!: number;
  @Encrypted() text!: string;
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
const ready = () => process.stdout.write('READY\\n');
/** Until all of them are told to begin. */
const begin = async () => {
  ready();
  for await (const _ of process.stdin);
};
(async () => {
  const [, , command] = process.argv;
  if (command === 'init') await begin();
  await dataSource.initialize();
  await fieldEncryption(dataSource).ready();
  if (command === 'rotate') {
    await begin();
    await fieldEncryption(dataSource).keys.rotate();
  }
  if (command === 'rotate-for-ever') {
    ready();
    for (;;) await fieldEncryption(dataSource).keys.rotate();
  }
  if (command === 'reencrypt-for-ever') {
    ready();
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

/** Waits for the first output of a process. */
async function said(child: ReturnType<Project['start']>): Promise<void> {
  let problem = '';
  child.stderr.on('data', (data: Buffer) => (problem += data.toString()));
  const ended = once(child, 'exit').then(() => Promise.reject(new Error(problem)));
  await Promise.race([once(child.stdout, 'data'), ended]);
  ended.catch(() => undefined);
}

describeDiagonal('Keys among many processes', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Item], synchronize: true });
    // Only the tables: the processes make the keys.
    dataSource = cleanup.add(protect(database, { kms: localKms({ keyFile }) }));
  });
  afterEach(() => cleanup.run());

  const env = (): Record<string, string> => ({
    DATABASE: JSON.stringify({
      ...database.dataSourceOptions,
      entities: undefined,
      synchronize: false,
    }),
    KEY_FILE: keyFile,
  });

  const dataKeys = (): Promise<KeyInfo[]> => fieldEncryption(dataSource).keys.list();

  /** Runs a command in several processes, which begin together once each of them has loaded everything. */
  async function all(command: string, count: number): Promise<Outcome[]> {
    const children = Array.from({ length: count }, () =>
      project.start('node', ['worker.js', command], env()),
    );
    const outcomes = Promise.all(children.map(outcomeOf));
    await Promise.all(children.map(said));
    for (const child of children) child.stdin.end();
    return outcomes;
  }

  /** Kills a process at a random moment of what it does. */
  async function killed(command: string): Promise<void> {
    const child = project.start('node', ['worker.js', command], env());
    const exited = once(child, 'exit');
    await said(child);
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
});
