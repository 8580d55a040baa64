import { Entity, EntityNotFoundError, Equal, In, IsNull, Not, Or, PrimaryColumn } from 'typeorm';
import { inspect } from 'node:util';
import type { DataSource, Repository } from 'typeorm';
import { BlindIndex, Encrypted } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { ids } from '../support/lookup-world';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { isUniqueViolation } from '../support/unique-violation';
import { bytesOf, sqlOf } from '../support/sql-of';

@Entity({ name: 'guest' })
class Guest {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex({ normalize: 'email', unique: true }) email!: string;
  @Encrypted({ nullable: true }) @BlindIndex() city!: string | null;
  @Encrypted({ nullable: true }) @BlindIndex({ bits: 4 }) pet!: string | null;
  @Encrypted({ nullable: true, type: 'number' }) @BlindIndex() age!: number | null;
  @Encrypted({ nullable: true, type: 'date' }) @BlindIndex() born!: Date | null;
  @Encrypted({ nullable: true, type: 'boolean' })
  @BlindIndex({ acknowledgeLeakage: true })
  vip!: boolean | null;
  @Encrypted({ nullable: true, storage: 'binary' }) @BlindIndex() badge!: string | null;
}

@Entity()
class Other {
  @PrimaryColumn() id!: number;
}

const LEGACY = ['email', 'city', 'pet', 'age', 'born', 'vip', 'badge'].map((p) => `Guest.${p}`);

describeDiagonal('lookups among rows that are still cleartext', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let ds: DataSource;
  let guests: Repository<Guest>;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Guest, Other], synchronize: true });
    ds = await cleanup.add(protect(database, { legacyPlaintext: LEGACY })).initialize();
    guests = ds.getRepository(Guest);
    const badge = bytesOf(kind, Buffer.from('b1'));
    await ds.query(
      `INSERT INTO guest (id, email, city, pet, age, born, vip, badge) VALUES
        (1, 'ada@x.org', 'Bern', 'cat', '42', '2001-02-03T04:05:06.000Z', 'true', ${badge}),
        (2, 'bob@x.org', 'Rome', 'dog', '7', '2001-02-03 04:05:06+00', '0', NULL),
        (3, 'cyd@x.org', NULL, NULL, NULL, NULL, NULL, NULL)`,
    );
    await guests.insert([
      {
        id: 4,
        email: 'dan@x.org',
        city: 'Bern',
        pet: 'cat',
        age: 42,
        born: new Date('2001-02-03T04:05:06Z'),
        vip: true,
        badge: 'b1',
      },
      { id: 5, email: 'eve@x.org', city: 'Rome', pet: 'cow', vip: false, badge: 'b2' },
      { id: 6, email: 'fay@x.org' },
    ]);
  });

  afterEach(() => cleanup.run());

  it('shows no value that is compared in clear in the error of a builder that finds nothing', async () => {
    const builder = guests.createQueryBuilder('g').where({ email: 'nobody@x.org' });
    builder.andWhere('g.id > :least', { least: 0 });
    const error = (await rejection(builder.getOneOrFail())) as EntityNotFoundError;
    expect(error).toBeInstanceOf(EntityNotFoundError);
    expect(inspect(error, { depth: 9 })).not.toContain('nobody');
    expect(error.message).toContain('"least": 0');
    expect(error.message).toContain('[encrypted]');
  });

  it('keeps no result and no parameter in clear in the query cache', async () => {
    await ds.destroy();
    const cached = protect(database, { legacyPlaintext: LEGACY }, {
      cache: { type: 'database', alwaysEnabled: true },
    } as never);
    ds = await cleanup.add(cached).initialize();
    await ds.synchronize();
    guests = ds.getRepository(Guest);
    expect(await found({ email: 'ADA@x.org' })).toEqual([1]);
    await guests.find({ where: { city: 'Bern' }, cache: true });
    await guests.count({ where: { city: 'Bern' }, cache: 60_000 });
    await guests.createQueryBuilder('g').where({ pet: 'cat' }).cache('pets', 60_000).getMany();
    await ds.createQueryBuilder(Other, 'o').cache(true).getMany();
    const kept: unknown = await ds.query(sqlOf(kind, 'SELECT * FROM "query-result-cache"'));
    expect(kept).toHaveLength(1);
    expect(JSON.stringify(kept)).not.toMatch(/x\.org|Bern|cat/i);
  });

  const found = async (where: object): Promise<number[]> => ids(await guests.findBy(where));

  it.each<[string, object, number[]]>([
    ['a value', { city: 'Bern' }, [1, 4]],
    ['the normalized form', { email: ' ADA@x.org' }, [1]],
    ['Equal', { city: Equal('Rome') }, [2, 5]],
    ['In', { city: In(['Rome', 'Bern', 'Oslo']) }, [1, 2, 4, 5]],
    ['Not, which knows NULL', { city: Not('Bern') }, [2, 5]],
    ['Not In', { city: Not(In(['Bern', 'Oslo'])) }, [2, 5]],
    ['Not Not', { city: Not(Not('Bern')) }, [1, 4]],
    ['IsNull', { city: IsNull() }, [3, 6]],
    ['Or with IsNull', { city: Or(Equal('Bern'), IsNull()) }, [1, 3, 4, 6]],
    ['Not Or with IsNull', { city: Not(Or(Equal('Bern'), IsNull())) }, [2, 5]],
    ['a truncated index', { pet: 'cat' }, [1, 4]],
    ['Not on a truncated index', { pet: Not('cat') }, [2, 5]],
    ['a number', { age: 42 }, [1, 4]],
    ['a date, as databases write them', { born: new Date('2001-02-03T04:05:06Z') }, [1, 2, 4]],
    ['a boolean', { vip: true }, [1, 4]],
    ['the other boolean', { vip: false }, [2, 5]],
    ['a binary column', { badge: 'b1' }, [1, 4]],
    ['several properties', { city: 'Bern', pet: Not('cow'), vip: true }, [1, 4]],
  ])('answers %s', async (_what, where, expected) => {
    expect(await found(where)).toEqual(expected);
    expect(await guests.countBy(where)).toBe(expected.length);
    expect(
      ids(await guests.createQueryBuilder('g').where(where).orderBy('g.id').take(9).getMany()),
    ).toEqual(expected);
  });

  it('finds a text by itself, and by every spelling of it only where it is the normalized one', async () => {
    await ds.query("UPDATE guest SET email = 'Ada@X.org' WHERE id = 1");
    expect(await found({ email: 'Ada@X.org' })).toEqual([1]);
    for (const other of ['ada@x.org', 'ADA@x.org'])
      expect(await found({ email: other })).toEqual([]);
    for (const same of ['bob@x.org', 'BOB@x.org'])
      expect(await found({ email: same })).toEqual([2]);
    // An encrypted row is found by all.
    for (const same of ['dan@x.org', 'Dan@X.org'])
      expect(await found({ email: same })).toEqual([4]);
  });

  it('updates and deletes by them, and encrypts what it writes', async () => {
    await guests.update({ city: 'Bern' }, { pet: 'owl' });
    expect(await found({ pet: 'owl' })).toEqual([1, 4]);
    await guests.delete({ email: In(['bob@x.org', 'dan@x.org']) });
    expect(ids(await guests.find())).toEqual([1, 3, 5, 6]);
  });

  it('takes a stored ciphertext for no cleartext', async () => {
    const [row] = await ds.query<{ city: string }[]>('SELECT city FROM guest WHERE id = 4');
    await ds.query('UPDATE guest SET city_bidx = NULL WHERE id = 4');
    expect(await found({ city: 'Bern' })).toEqual([1]);
    expect(row?.city.startsWith('A')).toBe(true);
  });

  it('keeps a unique value unique among them: the row is encrypted, and the write refused', async () => {
    for (const duplicate of [
      () => guests.insert({ id: 9, email: 'ada@x.org' }),
      () => guests.update({ id: 5 }, { email: 'ADA@x.org' }),
    ]) {
      expect(isUniqueViolation(await rejection(duplicate()))).toBe(true);
    }
    await guests.upsert({ id: 12, email: 'BOB@x.org', city: 'Oslo' }, ['email']);
    expect(await found({ email: 'bob@x.org' })).toEqual([12]);
    expect(await guests.count()).toBe(6);
    await guests.upsert({ id: 12, email: 'bob@x.org', city: 'Bonn' }, ['email']);
    const stored = await ds.query<{ email: string; email_bidx: string }[]>(
      'SELECT email, email_bidx FROM guest WHERE id = 12',
    );
    expect(stored[0]?.email).not.toContain('bob');
    expect(stored[0]?.email_bidx).toHaveLength(43);
  });

  it('compares tokens alone where legacyPlaintext does not name the property', async () => {
    const strict = cleanup.add(protect(database, {}, { synchronize: false }));
    await strict.initialize();
    const rows = await strict
      .getRepository(Guest)
      .find({ where: { city: 'Bern' }, select: { id: true } });
    expect(ids(rows)).toEqual([4]);
  });
});
