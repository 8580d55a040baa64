import { randomUUID } from 'node:crypto';
import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, KeyStateError } from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { SETTLING_MS } from '../../src/keys/store/watched-key-store';
import { moveDatabaseClock } from '../support/database-clock';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity()
class Visit {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex({ unique: true }) patient!: string;
}

const MAX_AGE_MS = 900_000;
const NOW = { graceMs: 0, waitMs: 50 };

describeDiagonal('Destroying a key', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;
  let ahead: number;

  beforeEach(async () => {
    ahead = 0;
    database = await cleanup.create(kind, { entities: [Visit], synchronize: true });
    dataSource = await opened();
    moveDatabaseClock(dataSource, () => ahead);
    await visits().insert({ id: 1, patient: 'canary one' });
  });
  afterEach(() => cleanup.run());

  const visits = () => dataSource.getRepository(Visit);
  const keysOf = (source: DataSource) => fieldEncryption(source).keys;

  function opened(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    return cleanup.add(protect(database, options)).initialize();
  }

  async function emptiedKey(): Promise<string> {
    const [old] = await keysOf(dataSource).list();
    await keysOf(dataSource).rotate();
    expect(await fieldEncryption(dataSource).reencrypt()).toMatchObject({ remaining: 0 });
    return String(old?.id);
  }

  it('waits by default until no process can have it in memory, by the clock of the database', async () => {
    const id = await emptiedKey();
    const { keys } = fieldEncryption(dataSource);
    const refused = await rejection(keys.destroy(id));
    expect(refused).toMatchObject({ code: 'ERR_KEY_STATE', retryable: true });
    // A host whose clock is ahead changes nothing.
    const now = Date.now();
    jest.useFakeTimers({ now: now + 3 * 3_600_000, doNotFake: [...TIMERS] });
    try {
      const hasty = await opened({ keyPolicies: UNTIL_REENCRYPTED });
      expect(await rejection(keysOf(hasty).destroy(id))).toMatchObject({ retryable: true });
      expect(await keysOf(hasty).maintain()).toMatchObject({ destroyed: [], failures: [] });
    } finally {
      jest.useRealTimers();
    }
    ahead += MAX_AGE_MS;
    expect(await rejection(keys.destroy(id))).toMatchObject({ retryable: true });
    ahead += SETTLING_MS;
    expect(await keys.destroy(id)).toMatchObject({ key: { state: 'destroyed' } });
  });

  it('gives keys dates of the database, whatever the clock of the host says', async () => {
    const [at] = await dataSource.query<{ ms: string }[]>(
      {
        sqlite: "SELECT (julianday('now') - 2440587.5) * 86400000 AS ms",
        postgres: "SELECT date_part('epoch', clock_timestamp()) * 1000 AS ms",
        mysql: 'SELECT unix_timestamp(sysdate(3)) * 1000 AS ms',
      }[kind.dialect],
    );
    jest.useFakeTimers({ now: Date.now() - 5 * 3_600_000, doNotFake: [...TIMERS] });
    try {
      const late = await opened({ now: () => new Date('2001-01-01') });
      await keysOf(late).rotate();
      const { activatableAt } = await keysOf(late).rotateIndex();
      const [old, active] = await keysOf(late).list();
      for (const date of [old?.deactivatedAt, active?.activatedAt, active?.createdAt]) {
        expect(Math.abs(Number(date) - Number(at?.ms))).toBeLessThan(60_000);
      }
      expect(Number(activatableAt) - Number(at?.ms)).toBeGreaterThan(2 * MAX_AGE_MS);
    } finally {
      jest.useRealTimers();
    }
  });

  it('activates no index root early on a host whose clock is ahead', async () => {
    await keysOf(dataSource).rotateIndex();
    jest.useFakeTimers({ now: Date.now() + 3 * 3_600_000, doNotFake: [...TIMERS] });
    try {
      const hasty = await opened({ now: () => new Date('2099-01-01') });
      expect(await keysOf(hasty).rotateIndex()).toMatchObject({ step: 'waiting' });
    } finally {
      jest.useRealTimers();
    }
  });

  // There is one writer at a time.
  if (kind.dialect === 'sqlite') return;
  const isPostgres = kind.dialect === 'postgres';
  const itOnPostgres = isPostgres ? it : it.skip;

  async function someoneAwaitsALock(): Promise<void> {
    const count = `SELECT count(*)::int AS waiting FROM pg_locks
      WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
    for (;;) {
      const [row] = await dataSource.query<{ waiting: number }[]>(count);
      if (row !== undefined && row.waiting > 0) return;
    }
  }

  /** A transaction of another process, which has the key still in memory. */
  async function openTransaction(source: DataSource, ...isolation: 'REPEATABLE READ'[]) {
    const runner = source.createQueryRunner();
    await runner.startTransaction(...isolation);
    return runner;
  }

  it('sees rows of a transaction that was open when the rows were counted', async () => {
    const other = await opened();
    const runner = await openTransaction(other);
    await runner.manager.insert(Visit, { id: 2, patient: 'canary two' });
    const id = await emptiedKey();

    const refused = await rejection(keysOf(dataSource).destroy(id, NOW));
    expect(refused).toBeInstanceOf(KeyStateError);
    expect(refused).toMatchObject({ retryable: true, keyId: id });
    expect(refused.message).toMatch(
      isPostgres
        ? /1 transaction that writes encrypted tables is open, the oldest since 20\d\d-/
        : /1 transaction that writes encrypted tables is open, since when/,
    );
    // Nobody was kept from writing, and who began later is not waited for.
    await visits().insert({ id: 3, patient: 'canary three' });
    const later = await openTransaction(dataSource);
    await later.manager.insert(Visit, { id: 4, patient: 'canary four' });

    const destroying = rejection(keysOf(dataSource).destroy(id, { graceMs: 0 }));
    await new Promise((resolve) => setTimeout(resolve, 50));
    await later.rollbackTransaction();
    await runner.commitTransaction();
    await runner.release();
    await later.release();
    const needed = await destroying;
    expect(needed).toMatchObject({ code: 'ERR_KEY_STATE', retryable: false });
    expect(needed.message).toContain('1 of Visit.patient');

    await fieldEncryption(dataSource).reencrypt();
    await keysOf(dataSource).destroy(id, NOW);
    expect(await visits().find({ order: { id: 'ASC' } })).toMatchObject([
      { patient: 'canary one' },
      { patient: 'canary two' },
      { patient: 'canary three' },
    ]);
  });

  it('sees them when nobody attends to it, and says why it did not destroy', async () => {
    const other = await opened();
    const runner = await openTransaction(other);
    await runner.manager.insert(Visit, { id: 2, patient: 'canary two' });
    await emptiedKey();
    const unattended = await opened({ keyPolicies: UNTIL_REENCRYPTED });
    const { keys } = fieldEncryption(unattended);
    expect(await keys.maintain(NOW)).toMatchObject({
      destroyed: [],
      stillNeeded: [],
      failures: [{ keyName: 'default', code: 'ERR_KEY_STATE' }],
    });
    await runner.commitTransaction();
    await runner.release();
    expect(await keys.maintain(NOW)).toMatchObject({
      destroyed: [],
      stillNeeded: [{ version: 1 }],
      failures: [],
    });
    expect(await visits().findOneByOrFail({ id: 2 })).toMatchObject({ patient: 'canary two' });
  });

  // MySQL finds them by a lock of the table, whose partitions nobody writes past it. Prepared transactions there are
  // tried in mysql-sessions.
  itOnPostgres(
    'waits for a statement that awaits its lock, for a prepared transaction, and for writers of a partition',
    async () => {
      await visits().query('DROP TABLE visit');
      await visits().query(
        'CREATE TABLE visit (id int PRIMARY KEY, patient text, patient_bidx varchar(43)) PARTITION BY RANGE (id)',
      );
      await visits().query('CREATE TABLE visit_1 PARTITION OF visit FOR VALUES FROM (0) TO (100)');
      const id = await emptiedKey();
      const blocked = () => rejection(keysOf(dataSource).destroy(id, NOW));
      const direct = await openTransaction(dataSource);
      await direct.query('INSERT INTO visit_1 (id) VALUES (50)');
      expect((await blocked()).message).toMatch(/1 transaction that writes/);
      await direct.rollbackTransaction();

      await direct.startTransaction();
      await direct.query('LOCK TABLE visit IN SHARE MODE');
      const waiting = visits().query('INSERT INTO visit (id) VALUES (51)');
      await someoneAwaitsALock();
      expect((await blocked()).message).toMatch(/1 transaction that writes/);
      await direct.commitTransaction();
      await waiting;

      const [{ most } = { most: '0' }] = await dataSource.query<{ most: string }[]>(
        "SELECT current_setting('max_prepared_transactions') AS most",
      );
      if (most !== '0') {
        await direct.query('BEGIN');
        await direct.query('INSERT INTO visit (id) VALUES (52)');
        // Such names are common to all databases of the server.
        const name = `in doubt ${randomUUID()}`;
        await direct.query(`PREPARE TRANSACTION '${name}'`);
        expect((await blocked()).message).toMatch(
          /1 transaction that writes .* the oldest since 20/,
        );
        await direct.query(`COMMIT PREPARED '${name}'`);
      }
      await direct.release();

      await keysOf(dataSource).destroy(id, NOW);
    },
  );

  it('sees tokens that an open transaction has made with a replaced index root', async () => {
    const other = await opened();
    await fieldEncryption(other).ready();
    await keysOf(dataSource).rotateIndex();
    await keysOf(other).rotateIndex();
    ahead += 2 * MAX_AGE_MS + SETTLING_MS;
    const { previous } = await keysOf(dataSource).rotateIndex();
    const runner = await openTransaction(other);
    await runner.manager.insert(Visit, { id: 2, patient: 'canary two' });
    ahead += MAX_AGE_MS + SETTLING_MS;
    await fieldEncryption(dataSource).reindex();

    const refused = await rejection(keysOf(dataSource).destroy(previous.id, NOW));
    expect(refused).toMatchObject({ retryable: true });
    await runner.commitTransaction();
    await runner.release();
    // In MySQL the transaction may hold the gap of the index that the new token of the other row falls into: the run
    // leaves that row to the next one.
    expect((await rejection(keysOf(dataSource).destroy(previous.id, NOW))).message).toMatch(
      isPostgres ? /1 of Visit\.patient.*Reindex/ : /[12] of Visit\.patient.*Reindex/,
    );
    await fieldEncryption(dataSource).reindex();
    await keysOf(dataSource).destroy(previous.id, NOW);
    expect(await visits().findOneByOrFail({ patient: 'canary two' })).toMatchObject({ id: 2 });
  });

  it('confirms no key in a transaction that sees the key table as it was long ago', async () => {
    const other = await opened({ keyCache: { ttlMs: 1, maxAgeMs: 200 } });
    const runner = await openTransaction(other, 'REPEATABLE READ');
    await runner.query('SELECT 1 FROM visit');
    const id = await emptiedKey();
    await new Promise((resolve) => setTimeout(resolve, 250));
    await keysOf(dataSource).destroy(id, NOW);

    const refused = await rejection(runner.manager.insert(Visit, { id: 2, patient: 'canary two' }));
    expect(refused).toMatchObject({ code: 'ERR_KEY_STATE', retryable: true });
    expect(refused.message).toContain('Begin it again');
    await runner.rollbackTransaction();
    await runner.startTransaction('REPEATABLE READ');
    await runner.manager.insert(Visit, { id: 2, patient: 'canary two' });
    await runner.commitTransaction();
    await runner.release();
    expect(await visits().findOneByOrFail({ id: 2 })).toMatchObject({ patient: 'canary two' });
  });

  // MySQL shows to nobody since when they are open.
  itOnPostgres(
    'names how many transactions there are also to a role that may not see whose they are',
    async () => {
      const role = `reader_${String(process.pid)}_${String(Date.now())}`;
      await dataSource.query(`CREATE ROLE ${role} LOGIN PASSWORD 'reader'`);
      try {
        await dataSource.query(`GRANT ALL ON ALL TABLES IN SCHEMA public TO ${role}`);
        const url = new URL((database.dataSourceOptions as { url: string }).url);
        Object.assign(url, { username: role, password: 'reader' });
        const id = await emptiedKey();
        const runner = await openTransaction(dataSource);
        await runner.manager.insert(Visit, { id: 2, patient: 'canary two' });
        const restricted = protect(
          {
            ...database,
            dataSourceOptions: { ...database.dataSourceOptions, url: url.href } as never,
          },
          {},
          { synchronize: false },
        );
        await restricted.initialize();
        const refused = await rejection(keysOf(restricted).destroy(id, NOW));
        await runner.rollbackTransaction();
        await runner.release();
        expect(refused.message).toMatch(
          /1 transaction .* open, since when, this database role may not see/,
        );
        expect(await keysOf(restricted).destroy(id, NOW)).toMatchObject({ key: { id } });
        await restricted.destroy();
      } finally {
        await dataSource.query(`DROP OWNED BY ${role}`);
        await dataSource.query(`DROP ROLE ${role}`);
      }
    },
  );
});

const UNTIL_REENCRYPTED = { '*': { retention: { kind: 'untilReencrypted' } } } as const;

/** All but the date. */
const TIMERS = [
  'hrtime',
  'nextTick',
  'performance',
  'queueMicrotask',
  'setImmediate',
  'clearImmediate',
  'setInterval',
  'clearInterval',
  'setTimeout',
  'clearTimeout',
] as const;
