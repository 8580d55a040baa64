import {
  Column,
  Entity,
  Equal,
  In,
  IsNull,
  Not,
  Or,
  PrimaryColumn,
  UpdateDateColumn,
  VersionColumn,
} from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption } from '../../src';
import type { BlindIndexOptions, FieldEncryptionOptions } from '../../src';
import { SETTLING_MS } from '../../src/keys/store/watched-key-store';
import { moveDatabaseClock } from '../support/database-clock';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { ids } from '../support/lookup-world';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { isUniqueViolation } from '../support/unique-violation';
import { inDoubleQuotes } from '../support/sql-of';

type Class = new () => Person;

interface Person {
  id: number;
  email: string;
  nick: string | null;
  pet: string | null;
  version: number;
}

/** The same entity as processes before, during and after a change of its indexes define it. */
function personWith(email: BlindIndexOptions, nick: BlindIndexOptions = {}): Class {
  @Entity({ name: 'person' })
  class Person {
    @PrimaryColumn() id!: number;
    @Encrypted({ id: 'person.email' }) @BlindIndex({ unique: true, ...email }) email!: string;
    @Encrypted({ id: 'person.nick', nullable: true }) @BlindIndex(nick) nick!: string | null;
    @Encrypted({ id: 'person.pet', nullable: true }) @BlindIndex({ bits: 4 }) pet!: string | null;
    @Column({ default: 0 }) points!: number;
    @VersionColumn() version!: number;
    @UpdateDateColumn() changedAt!: Date;
  }
  return Person;
}

const Before = personWith({});
const During = personWith(
  { normalize: 'email', previous: [{ normalize: 'exact' }] },
  { normalize: 'case-insensitive', previous: [{}] },
);

const MAX_AGE_MS = 900_000;

describeDiagonal('while a blind index changes', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let ahead: number;

  beforeEach(async () => {
    ahead = 0;
    database = await cleanup.create(kind, { synchronize: false });
  });

  afterEach(() => cleanup.run());

  async function open(
    entity: Class,
    options: Partial<FieldEncryptionOptions> = {},
    synchronize = false,
  ): Promise<DataSource> {
    const source = protect(database, options, { entities: [entity], synchronize });
    moveDatabaseClock(source, () => ahead);
    return cleanup.add(source).initialize();
  }

  /** Rows 1 and 2 as `before` writes them, 3 and 4 as `during` does. */
  async function mixed(): Promise<DataSource> {
    const before = await open(Before, {}, true);
    await before.getRepository(Before).insert([
      { id: 1, email: 'ada@x.org', nick: 'countess', pet: 'cat' },
      { id: 2, email: 'bob@x.org', nick: null, pet: null },
    ]);
    const during = await open(During);
    await during.getRepository(During).insert([
      { id: 3, email: 'Cyd@x.org', nick: 'COUNTESS', pet: 'cat' },
      { id: 4, email: 'dan@x.org', nick: 'danny', pet: 'dog' },
    ]);
    return during;
  }

  async function rotatedAt(ds: DataSource): Promise<string> {
    const { keys } = fieldEncryption(ds);
    expect(await keys.rotateIndex()).toMatchObject({ step: 'announced' });
    ahead += 2 * MAX_AGE_MS + SETTLING_MS;
    const { step, previous } = await keys.rotateIndex();
    expect(step).toBe('activated');
    return previous.id;
  }

  async function rows(ds: DataSource): Promise<Record<string, unknown>[]> {
    return ds.query<Record<string, unknown>[]>('SELECT * FROM person ORDER BY id');
  }

  /** What a clean reindexing leaves: every row with the tokens of now. */
  async function reindex(ds: DataSource, entity: Class): Promise<void> {
    const encryption = fieldEncryption(ds);
    for (const person of await ds.getRepository(entity).find({ order: { id: 'ASC' } })) {
      for (const property of ['email', 'nick', 'pet'] as const) {
        const value = person[property];
        if (value === null) continue;
        const token = await encryption.token(entity, property, value);
        await ds.query(
          `UPDATE person SET ${property}_bidx = '${token}' WHERE id = ${String(person.id)}`,
        );
      }
    }
  }

  it('finds rows by every token they may have, in every form of lookup', async () => {
    const ds = await mixed();
    const people = ds.getRepository(During);
    const found = async (where: object): Promise<number[]> => ids(await people.findBy(where));

    expect(await found({ email: 'ada@x.org' })).toEqual([1]);
    expect(await found({ email: 'cyd@X.org' })).toEqual([3]);
    expect(await found({ nick: 'countess' })).toEqual([1, 3]);
    expect(await found({ nick: Equal('countess') })).toEqual([1, 3]);
    expect(await found({ nick: In(['countess', 'DANNY']) })).toEqual([1, 3, 4]);
    expect(await found({ nick: Not('countess') })).toEqual([4]);
    expect(await found({ nick: Not(In(['countess', 'nobody'])) })).toEqual([4]);
    expect(await found({ nick: Or(Equal('countess'), IsNull()) })).toEqual([1, 2, 3]);
    expect(await found([{ email: 'bob@x.org' }, { nick: 'danny' }])).toEqual([2, 4]);
    expect(await people.countBy({ nick: 'countess', email: 'ada@x.org' })).toBe(1);
    expect(
      ids(
        await people
          .createQueryBuilder('p')
          .where({ nick: 'countess' })
          .andWhere({ email: Not('ada@x.org') })
          .getMany(),
      ),
    ).toEqual([3]);
    await people.update({ nick: 'countess' }, { pet: 'owl' });
    expect(await found({ pet: 'owl' })).toEqual([1, 3]);
    await people.delete({ email: In(['ada@x.org', 'CYD@x.org']) });
    expect(ids(await people.find())).toEqual([2, 4]);

    const tokens = await fieldEncryption(ds).tokens(During, 'nick', 'Danny');
    expect(tokens).toHaveLength(2);
    expect(tokens[0]).toBe(await fieldEncryption(ds).token(During, 'nick', 'danny'));
  });

  it('makes truncated indexes of either definition exact', async () => {
    const Short = personWith({}, { bits: 8 });
    const old = await open(Short, {}, true);
    await old.getRepository(Short).insert(
      Array.from({ length: 40 }, (_, id) => ({
        id,
        email: `p${String(id)}`,
        nick: `n${String(id % 20)}`,
      })),
    );
    const Full = personWith({}, { previous: [{ bits: 8 }] });
    const people = (await open(Full)).getRepository(Full);
    if (kind.type === 'postgres') {
      await people.query('ALTER TABLE person ALTER COLUMN nick_bidx TYPE varchar(43)');
    } else if (kind.dialect === 'mysql') {
      await people.query(
        'ALTER TABLE person MODIFY nick_bidx varchar(43) CHARACTER SET ascii COLLATE ascii_bin',
      );
    }
    await people.insert({ id: 40, email: 'p40', nick: 'n3' });
    expect(ids(await people.findBy({ nick: 'n3' }))).toEqual([3, 23, 40]);
    expect(await people.countBy({ nick: Not('n3') })).toBe(38);
  });

  it('finds tokens of both roots in every process while the index key is rotated', async () => {
    const [first, second] = [await open(Before, {}, true), await open(Before)];
    await first.getRepository(Before).insert({ id: 1, email: 'one@x.org', pet: 'cat' });
    await fieldEncryption(first).keys.rotateIndex();
    await fieldEncryption(second).keys.rotateIndex(); // too early: but takes the new root in
    ahead += 2 * MAX_AGE_MS + SETTLING_MS;
    const { step, previous } = await fieldEncryption(first).keys.rotateIndex();
    expect(step).toBe('activated');

    // The second process has not noticed and writes on with the old root.
    const [one, two] = [first.getRepository(Before), second.getRepository(Before)];
    await one.insert({ id: 2, email: 'two@x.org', pet: 'cat' });
    await two.insert({ id: 3, email: 'three@x.org', pet: 'cat' });
    for (const people of [one, two]) {
      expect(
        ids(await people.findBy({ email: In(['one@x.org', 'two@x.org', 'three@x.org']) })),
      ).toEqual([1, 2, 3]);
      expect(ids(await people.findBy({ pet: 'cat' }))).toEqual([1, 2, 3]);
      expect(await people.countBy({ email: Not('two@x.org') })).toBe(2);
    }
    // Each refuses what the other has.
    for (const duplicate of [
      () => one.insert({ id: 9, email: 'three@x.org' }),
      () => two.insert({ id: 9, email: 'two@x.org' }),
      () => two.update({ id: 3 }, { email: 'one@x.org' }),
    ]) {
      expect(isUniqueViolation(await rejection(duplicate()))).toBe(true);
    }

    const { keys } = fieldEncryption(first);
    expect(await rejection(fieldEncryption(first).reindex())).toMatchObject({
      code: 'ERR_KEY_STATE',
      retryable: true,
    });
    const plan = await fieldEncryption(first).reindex({ dryRun: true });
    expect(plan).toMatchObject({ scanned: 3, changed: 2 });
    ahead += MAX_AGE_MS + SETTLING_MS;
    expect((await rejection(keys.destroy(previous.id))).message).toMatch(
      /2 of Person\.email.*Reindex/,
    );
    await reindex(first, Before);
    const { columns } = await keys.destroy(previous.id);
    expect(
      columns.map(({ column, rows: total, rowsUnderKey }) => [column, total, rowsUnderKey]),
    ).toEqual([
      ['email_bidx', 3, 0],
      ['nick_bidx', 0, 0],
      ['pet_bidx', 3, 0],
    ]);
    expect(await fieldEncryption(first).tokens(Before, 'email', 'x')).toHaveLength(1);
    expect(ids(await one.findBy({ email: 'three@x.org' }))).toEqual([3]);
    expect((await keys.indexRoots()).map(({ state }) => state)).toEqual(['destroyed', 'active']);
  });

  it('keeps values unique in insert, save, update and upsert, and touches nothing else', async () => {
    const ds = await open(Before, {}, true);
    const people = ds.getRepository(Before);
    await people.insert([
      { id: 1, email: 'ada@x.org', nick: 'a' },
      { id: 2, email: 'bob@x.org', nick: 'b' },
    ]);
    const before = await rows(ds);
    await rotatedAt(ds);

    for (const duplicate of [
      () => people.insert({ id: 9, email: 'ada@x.org' }),
      () => people.save(people.create({ id: 9, email: 'ada@x.org' })),
      () => people.update({ id: 2 }, { email: 'ada@x.org' }),
      () =>
        people.insert([
          { id: 8, email: 'new@x.org' },
          { id: 9, email: 'ada@x.org' },
        ]),
      () =>
        ds.transaction((manager) =>
          manager
            .createQueryBuilder()
            .insert()
            .into(Before)
            .values({ id: 9, email: 'ada@x.org' })
            .execute(),
        ),
    ]) {
      expect(isUniqueViolation(await rejection(duplicate()))).toBe(true);
    }
    // A refused write leaves no row and no open transaction behind.
    expect(await people.count()).toBe(2);
    await people.update({ id: 2 }, { email: 'bob@x.org' });
    expect((await people.findOneByOrFail({ id: 2 })).version).toBe(2);

    await people.upsert({ id: 7, email: 'ada@x.org', nick: 'upserted' }, ['email']);
    const after = await rows(ds);
    expect(after).toHaveLength(2);
    expect(ids(await people.findBy({ nick: 'upserted', email: 'ada@x.org' }))).toHaveLength(1);
    expect(after[1]?.['email']).not.toEqual(before[1]?.['email']);
    await people.insert({ id: 3, email: 'cyd@x.org' });
    expect(await people.count()).toBe(3);
  });

  // There is one writer at a time, who is waited for by the driver.
  (kind.dialect === 'sqlite' ? it.skip : it)(
    'lets a writer wait for another one of the same value for a limited time',
    async () => {
      const ds = await open(Before, {}, true);
      await rotatedAt(ds);
      const isPostgres = kind.dialect === 'postgres';
      if (isPostgres) {
        const name = String(ds.driver.database);
        await ds.query(`ALTER DATABASE ${name} SET lock_timeout = '200ms'`);
      }
      const other = await open(Before);
      const runner = other.createQueryRunner();
      if (!isPostgres) await runner.query('SET SESSION innodb_lock_wait_timeout = 1');
      await ds.transaction(async (manager) => {
        await manager.insert(Before, { id: 1, email: 'ada@x.org' });
        const failure = await rejection(
          runner.manager.insert(Before, { id: 2, email: 'ada@x.org' }),
        );
        expect(failure).toMatchObject({ code: 'ERR_KEY_STATE', retryable: true });
        // Where the database has no limit, that of the lock is not left in the transaction.
        const [limit] = isPostgres
          ? await manager.query('SHOW lock_timeout')
          : await manager.query('SELECT @@innodb_lock_wait_timeout AS lock_timeout');
        expect(String(limit.lock_timeout)).toBe(isPostgres ? '0' : '50');
      });
      await runner.release();
    },
  );

  it('moves no version and no date of the rows it makes way in', async () => {
    const ds = await open(Before, {}, true);
    const people = ds.getRepository(Before);
    await people.insert({ id: 1, email: 'ada@x.org' });
    const [before] = await rows(ds);
    await rotatedAt(ds);
    await rejection(people.insert({ id: 2, email: 'ada@x.org' }));
    await ds.transaction(async (manager) => {
      await manager.insert(Before, { id: 3, email: 'new@x.org' });
      await manager.update(Before, { id: 3 }, { email: 'newer@x.org' });
      await manager.delete(Before, { id: 3 });
      await manager
        .createQueryBuilder()
        .insert()
        .into(Before)
        .values({ id: 4, email: 'ada@x.org' })
        .orIgnore()
        .execute();
    });
    const [after, ...others] = await rows(ds);
    expect(others).toEqual([]);
    const token = await fieldEncryption(ds).token(Before, 'email', 'ada@x.org');
    expect(after).toEqual({ ...before, email_bidx: token });
  });

  // In one process, drivers of SQLite that block would wait for a transaction that they hold up.
  const race = kind.dialect === 'sqlite' ? it.skip : it;
  const here =
    kind.dialect === 'sqlite' ? ' (not here: the driver would wait for its own process)' : '';
  race(
    `lets one of two processes win that write one value with different roots${here}`,
    async () => {
      const [first, second] = [await open(Before, {}, true), await open(Before)];
      await fieldEncryption(first).keys.rotateIndex();
      await fieldEncryption(second).keys.rotateIndex();
      ahead += 2 * MAX_AGE_MS + SETTLING_MS;
      await fieldEncryption(first).keys.rotateIndex();
      for (let round = 0; round < 10; round++) {
        const email = `race${String(round)}@x.org`;
        const outcomes = await Promise.allSettled(
          [first, second].map((ds, i) =>
            ds.getRepository(Before).insert({ id: 2 * round + i, email }),
          ),
        );
        expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
        expect(await first.getRepository(Before).countBy({ email })).toBe(1);
      }
    },
  );

  it('sends no statement more while nothing changes', async () => {
    const logged: string[] = [];
    const ds = await open(Before, {}, true);
    const logger = ds.logger;
    Object.assign(ds, {
      logger: Object.assign(Object.create(logger) as typeof logger, {
        logQuery: (sql: string) => logged.push(inDoubleQuotes(sql)),
      }),
    });
    await ds.getRepository(Before).insert({ id: 1, email: 'ada@x.org' });
    await ds.getRepository(Before).findBy({ email: 'ada@x.org' });
    expect(logged.filter((sql) => !/^(INSERT|SELECT "Person")/.test(sql))).toEqual([]);
    expect(logged.at(-1)).toMatch(/"email_bidx" = \S+$/);
  });

  it('gives listeners their say before it looks for duplicates', async () => {
    const ds = await open(Before, {}, true);
    const people = ds.getRepository(Before);
    await people.insert({ id: 1, email: 'ada@x.org' });
    await rotatedAt(ds);
    ds.subscribers.push({
      beforeInsert: ({ entity }) => {
        Object.assign(entity as object, { email: 'ada@x.org' });
      },
    });
    expect(isUniqueViolation(await rejection(people.insert({ id: 2, email: 'other' })))).toBe(true);
  });
});
