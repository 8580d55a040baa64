import { setTimeout as wait } from 'node:timers/promises';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, QueryRunner } from 'typeorm';
import { Encrypted, ErasedError, fieldEncryption, KeyScope, KeyStateError } from '../../src';
import { DATABASES } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity()
class Note {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted() text!: string;
}

const notes = [
  { id: 1, tenantId: 'north', text: 'canary north' },
  { id: 2, tenantId: 'south', text: 'canary south' },
];
const MAX_AGE_MS = 2_000;
/** Longer than the age that a key may have. */
const AGED_MS = MAX_AGE_MS + 200;

const read = (
  { manager }: { readonly manager: DataSource['manager'] },
  id = 1,
): Promise<string | undefined> => manager.findOneBy(Note, { id }).then((found) => found?.text);

const erase = async (dataSource: DataSource, tenant = 'north'): Promise<void> => {
  const shredded = fieldEncryption(dataSource).keys.shred({
    ...{ scope: { tenant }, reason: 'r', graceMs: 0 },
  });
  expect(await shredded).toMatchObject({ state: 'erased' });
};

const severalConnections = DATABASES.filter(
  ({ dialect, unavailable }) => dialect !== 'sqlite' && unavailable === undefined,
);

describe.each(severalConnections)('A transaction older than an erasure ($name)', (database) => {
  const cleanup = new Cleanup();
  let created: TestDatabase;
  let eraser: DataSource;
  let reader: DataSource;
  let runners: QueryRunner[];

  beforeEach(async () => {
    runners = [];
    created = await cleanup.create(database, { entities: [Note], synchronize: true });
    const aging = { ttlMs: MAX_AGE_MS, maxAgeMs: MAX_AGE_MS };
    [eraser, reader] = [await open(), await open(aging)];
    await eraser.manager.insert(Note, notes);
  });
  afterEach(async () => {
    for (const runner of runners) await runner.release();
    await cleanup.run();
  });

  async function open(keyCache = {}): Promise<DataSource> {
    return cleanup.add(await protect(created, { keyCache }).initialize());
  }

  async function begin(isolation: 'REPEATABLE READ' | 'SERIALIZABLE'): Promise<QueryRunner> {
    const runner = reader.createQueryRunner();
    runners.push(runner);
    await runner.startTransaction(isolation);
    await runner.query('SELECT 1 FROM note');
    return runner;
  }

  // In MySQL, a serializable transaction reads what was committed last.
  const snapshots = ['REPEATABLE READ', 'SERIALIZABLE'] as const;
  it.each(database.dialect === 'mysql' ? snapshots.slice(0, 1) : snapshots)(
    'reads by its %s snapshot for the age of a key, and no longer',
    async (isolation) => {
      const old = await begin(isolation);
      await erase(eraser);
      expect(await read(old)).toBe('canary north');
      await wait(AGED_MS);
      const refused = await rejection(read(old));
      expect(refused).toBeInstanceOf(KeyStateError);
      expect(refused).toMatchObject({ retryable: true });
      expect(await rejection(read(reader))).toBeInstanceOf(ErasedError);
      await old.rollbackTransaction();
    },
  );

  it('brings no key back that the process knows to be erased', async () => {
    const old = await begin('REPEATABLE READ');
    await erase(eraser);
    expect(await rejection(read(reader))).toBeInstanceOf(ErasedError);
    expect(await rejection(read(old))).toBeInstanceOf(ErasedError);
    expect(await rejection(read(reader))).toBeInstanceOf(ErasedError);
    await old.rollbackTransaction();
  });

  it('brings no key back that its own process has erased', async () => {
    reader = eraser;
    const old = await begin('REPEATABLE READ');
    await erase(eraser);
    expect(await rejection(read(old))).toBeInstanceOf(ErasedError);
    expect(await rejection(read(eraser))).toBeInstanceOf(ErasedError);
    await old.rollbackTransaction();
  });

  it('brings no key back that a write has found erased', async () => {
    const old = await begin('REPEATABLE READ');
    expect(await read(reader)).toBe('canary north');
    await erase(eraser);
    const written = reader.manager.insert(Note, { ...notes[0], id: 3 });
    expect(await rejection(written)).toBeInstanceOf(ErasedError);
    expect(await rejection(read(old))).toBeInstanceOf(ErasedError);
    expect(await rejection(read(reader))).toBeInstanceOf(ErasedError);
    await old.rollbackTransaction();
  });

  it('keeps keys from others no longer than they may have been erased', async () => {
    const old = await begin('REPEATABLE READ');
    await wait(MAX_AGE_MS / 2);
    await erase(eraser);
    expect(await read(old)).toBe('canary north');
    await wait(MAX_AGE_MS / 2 + 200);
    expect(await rejection(read(reader))).toBeInstanceOf(ErasedError);
    await old.rollbackTransaction();
  });

  it('is refused alone, and keeps nobody else from reading', async () => {
    const old = await begin('REPEATABLE READ');
    await wait(AGED_MS);
    expect(await rejection(read(old, 2))).toBeInstanceOf(KeyStateError);
    expect(await read(reader, 2)).toBe('canary south');
    // With the key that the other connection has found.
    expect(await read(old, 2)).toBe('canary south');
    await old.rollbackTransaction();
  });

  it('reads on for as long as it likes where it sees what others commit', async () => {
    const runner = reader.createQueryRunner();
    runners.push(runner);
    await runner.startTransaction('READ COMMITTED');
    await wait(AGED_MS);
    expect(await read(runner, 2)).toBe('canary south');
    await runner.rollbackTransaction();
  });
});

describe.each(DATABASES.filter(({ type }) => type === 'better-sqlite3'))(
  'A read transaction older than an erasure ($name)',
  (database) => {
    const cleanup = new Cleanup();
    afterEach(() => cleanup.run());

    it('reads by its snapshot until it ends, and no longer than that', async () => {
      const created = await cleanup.create(database, { entities: [Note], synchronize: true });
      const open = async (keyCache = {}): Promise<DataSource> => {
        const protectedBy = protect(created, { keyCache }, { enableWAL: true } as never);
        return cleanup.add(await protectedBy.initialize());
      };
      const aging = { ttlMs: MAX_AGE_MS, maxAgeMs: MAX_AGE_MS };
      const [eraser, reader] = [await open(), await open(aging)];
      await eraser.manager.insert(Note, notes);
      await reader.query('BEGIN');
      await reader.query('SELECT 1 FROM note');
      await erase(eraser);
      await wait(AGED_MS);
      expect(await read(reader)).toBe('canary north');
      await reader.query('COMMIT');
      await wait(AGED_MS);
      expect(await rejection(read(reader))).toBeInstanceOf(ErasedError);
    });
  },
);
