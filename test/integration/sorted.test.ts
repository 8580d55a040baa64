import {
  Column,
  DeleteDateColumn,
  Entity,
  In,
  ManyToOne,
  MoreThan,
  OneToMany,
  PrimaryColumn,
  PrimaryGeneratedColumn,
} from 'typeorm';
import type { FindOptionsOrder } from 'typeorm';
import {
  BlindIndex,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  IndexIntegrityError,
  UnsupportedQueryError,
} from '../../src';
import type { SortedOptions } from '../../src';
import { describeEachDatabase } from '../support/databases';
import { useEncryptedDatabase } from '../support/encrypted-database';
import { rejection } from '../support/protected-database';
import { sqlOf } from '../support/sql-of';

/** Numbers that are written alike, or not, whatever the database makes of them. */
const asText = { to: (cost: string) => cost, from: () => Math.random() };

@Entity()
class Ward {
  @PrimaryGeneratedColumn() id!: number;
  @Column() name!: string;
  @Encrypted() @BlindIndex() head!: string;
  @OneToMany(() => Visit, (visit) => visit.ward) visits!: Visit[];
}

class Address {
  @Encrypted({ type: 'string', nullable: true }) city!: string | null;
  @Column({ type: 'int', nullable: true }) floor!: number | null;
}

@Entity()
class Person {
  @PrimaryGeneratedColumn() id!: number;
  @Column({ type: 'int', nullable: true }) room!: number | null;
  @Encrypted({ type: 'string', nullable: true }) @BlindIndex() lastName!: string | null;
  @Encrypted({ type: 'number', nullable: true }) age!: number | null;
  @Encrypted({ type: 'bigint', nullable: true }) card!: bigint | null;
  @Encrypted({ type: 'boolean', nullable: true }) active!: boolean | null;
  @Encrypted({ type: 'date', nullable: true }) born!: Date | null;
  @Encrypted({ type: 'bytes', nullable: true }) print!: Buffer | null;
  @Encrypted({ type: 'json', nullable: true }) notes!: object | null;
  @Encrypted({ type: 'string', nullable: true, select: false }) hidden!: string | null;
  @Column(() => Address) address!: Address;
  @ManyToOne(() => Ward, { eager: true }) ward!: Ward;
  @DeleteDateColumn() deletedAt!: Date | null;
}

/** The same columns in clear, which the database sorts. */
@Entity()
class Plain {
  @PrimaryColumn() id!: number;
  @Column({ type: 'int', nullable: true }) room!: number | null;
  @Column({ type: 'varchar', nullable: true }) lastName!: string | null;
  @Column({ type: 'float', nullable: true }) age!: number | null;
  @Column({ type: 'bigint', nullable: true }) card!: string | null;
  @Column({ type: 'boolean', nullable: true }) active!: boolean | null;
  @Column({ type: Date, nullable: true }) born!: Date | null;
}

/** Columns in clear whose values the database compares as JavaScript does not. */
@Entity()
class Visit {
  @PrimaryGeneratedColumn() id!: number;
  @Column({ type: 'numeric', select: false, transformer: asText }) cost!: string;
  @Encrypted({ select: false }) value!: string;
  @ManyToOne(() => Ward) ward!: Ward;
}

@Entity()
class Pair {
  @PrimaryColumn() tenant!: string;
  @PrimaryColumn() number!: number;
  @Encrypted() value!: string;
}

const ORDERS: readonly FindOptionsOrder<Plain>[] = [
  { lastName: 'ASC' },
  { lastName: 'DESC' },
  { age: 'asc' },
  { age: -1 },
  { card: 1 },
  { active: 'DESC' },
  { born: 'ASC' },
  { born: { direction: 'ASC', nulls: 'FIRST' } },
  { born: { direction: 'DESC', nulls: 'LAST' } },
  { active: 'ASC', room: 'DESC', lastName: 'ASC' },
  { room: 'ASC', lastName: 'DESC', age: 'ASC' },
  { room: { direction: 'ASC', nulls: 'LAST' }, active: 'ASC', age: 'DESC' },
  { room: 'DESC' },
];

describeEachDatabase('sorted()', (database) => {
  const used = useEncryptedDatabase(database, { entities: [Person, Ward, Plain, Pair, Visit] });
  const sorted = (options: SortedOptions<Person>) =>
    fieldEncryption(used.dataSource).sorted(Person, options);
  const persons = () => used.dataSource.getRepository(Person);
  const save = (rows: readonly Partial<Person>[]) => persons().save(rows as Person[]);
  const lastNames = (found: readonly Person[]) => found.map(({ lastName }) => lastName);

  describe('beside the same rows in clear', () => {
    beforeEach(async () => {
      const pick = <T>(values: readonly T[], i: number): T => values[i % values.length]!;
      const rows = Array.from({ length: 60 }, (_, i) => ({
        room: pick([1, null, 2, 3], i * 7),
        lastName: pick(['ada', null, 'bob', 'abe', ''], i * 3),
        age: pick([4, 20, null, -0.5, 1e9], i),
        active: pick([true, null, false], i),
        born: pick([new Date(0), null, new Date('1999-12-31T23:59:59Z'), new Date(-1e11)], i * 3),
      }));
      const cards = rows.map((_, i) => pick([9n, null, 10n, -2n], i));
      const saved = await save(rows.map((row, i) => ({ ...row, card: cards[i]! })));
      await used.dataSource
        .getRepository(Plain)
        .insert(
          rows.map((row, i) => ({ id: saved[i]!.id, ...row, card: cards[i]?.toString() ?? null })),
        );
    });

    // MySQL has no NULLS FIRST and NULLS LAST to compare with.
    const comparable = ORDERS.filter(
      (order) => database.dialect !== 'mysql' || !JSON.stringify(order).includes('nulls'),
    );

    it.each(comparable)('orders and pages by %j as the database does', async (order) => {
      const expected = await used.dataSource
        .getRepository(Plain)
        .find({ order: { ...order, id: 'ASC' } });
      const ids = expected.map(({ id }) => id);
      const by = order as FindOptionsOrder<Person>;
      const idsOf = async (options: Partial<SortedOptions<Person>>) =>
        (await sorted({ order: by, ...options })).map(({ id }) => id);

      expect(await idsOf({})).toEqual(ids);
      expect(await idsOf({ skip: 7, take: 11 })).toEqual(ids.slice(7, 18));
      expect(await idsOf({ skip: 55, take: 11 })).toEqual(ids.slice(55));
      expect(await idsOf({ skip: 60, take: 11 })).toEqual([]);
      expect(await idsOf({ take: 0 })).toEqual([]);
    });
  });

  it('compares text by code points, or by a collator', async () => {
    await save(
      ['b', 'Ä', 'a', '\u{1f600}', 'ﬁ', 'B', 'item 10', 'item 9'].map((lastName) => ({ lastName })),
    );
    expect(lastNames(await sorted({ order: { lastName: 'ASC' } }))).toEqual([
      'B',
      'a',
      'b',
      'item 10',
      'item 9',
      'Ä',
      'ﬁ',
      '\u{1f600}',
    ]);
    const collator = new Intl.Collator('de', { numeric: true });
    const german = lastNames(await sorted({ order: { lastName: 'ASC' }, collator }));
    expect(german.filter((name) => /^\w|Ä/.test(String(name)))).toEqual([
      'a',
      'Ä',
      'b',
      'B',
      'item 9',
      'item 10',
    ]);
  });

  it('sorts numbers as PostgreSQL does, NaN above all others and -0 as 0', async () => {
    const ages = [1, NaN, Infinity, 0, -Infinity, -0, NaN, -1];
    const saved = await save(ages.map((age) => ({ age })));
    const places = async (direction: 'ASC' | 'DESC') =>
      (await sorted({ order: { age: direction } })).map(({ id }) =>
        saved.findIndex((each) => each.id === id),
      );
    expect(await places('ASC')).toEqual([4, 7, 3, 5, 0, 2, 1, 6]);
    expect(await places('DESC')).toEqual([1, 6, 2, 0, 3, 5, 7, 4]);
  });

  it('sorts by bytes, by columns of an embedded class, and by one that find does not select', async () => {
    await save([
      { lastName: 'x', print: Buffer.of(2), hidden: 'c', address: { city: 'b', floor: 1 } },
      { lastName: 'y', print: Buffer.of(1, 0), hidden: 'b', address: { city: 'a', floor: 2 } },
      { lastName: 'z', print: Buffer.of(1), hidden: 'a', address: { city: 'b', floor: 0 } },
    ]);
    expect(lastNames(await sorted({ order: { print: 'ASC' } }))).toEqual(['z', 'y', 'x']);
    const byHidden = await sorted({ order: { hidden: 'ASC' } });
    expect(lastNames(byHidden)).toEqual(['z', 'y', 'x']);
    expect(byHidden[0]?.hidden).toBeUndefined();
    const byAddress = await sorted({ order: { address: { city: 'ASC', floor: 'ASC' } } });
    expect(lastNames(byAddress)).toEqual(['y', 'z', 'x']);
    const byFloor = await sorted({ order: { address: { floor: 'DESC', city: 'ASC' } } });
    expect(lastNames(byFloor)).toEqual(['y', 'x', 'z']);
  });

  it('takes the options of find: conditions, relations, a selection, deleted rows', async () => {
    const wards = await used.dataSource.getRepository(Ward).save([
      { name: 'west', head: 'canary' },
      { name: 'east', head: 'bob' },
    ]);
    const [c, , gone] = await save([
      { lastName: 'c', age: 1, room: 1, ward: wards[0]! },
      { lastName: 'b', age: 2, room: 1, ward: wards[1]! },
      { lastName: 'a', age: 3, room: 1, ward: wards[0]! },
      { lastName: 'd', age: 4, room: 2, ward: wards[0]! },
    ]);
    await persons().softDelete(gone!.id);
    const order = { lastName: 'ASC' } as const;

    const [first] = await sorted({ where: { room: 1 }, order, take: 1 });
    expect(first).toMatchObject({ lastName: 'b', age: 2, ward: { head: 'bob' } });
    const ofWard = { ward: { head: 'canary' }, room: 1 };
    expect(lastNames(await sorted({ where: ofWard, order }))).toEqual(['c']);
    expect(lastNames(await sorted({ where: ofWard, order, withDeleted: true }))).toEqual([
      'a',
      'c',
    ]);
    const either = [{ lastName: In(['c']) }, { room: 2 }];
    expect(lastNames(await sorted({ where: either, order, skip: 1 }))).toEqual(['d']);
    const [selected] = await sorted({ where: either, order, take: 1, select: { age: true } });
    expect(selected).toMatchObject({ id: c!.id, age: 1, room: undefined });
  });

  it('sorts entities with two primary keys, more than one statement loads', async () => {
    const pairs = Array.from({ length: 1200 }, (_, i) => ({
      tenant: i % 2 === 0 ? 'a' : 'b',
      number: i,
      value: String((i * 7919) % 1000).padStart(3, '0'),
    }));
    await used.dataSource.getRepository(Pair).save(pairs, { chunk: 300 });
    const found = await fieldEncryption(used.dataSource).sorted(Pair, { order: { value: 'DESC' } });
    const key = ({ value, tenant, number }: Pair) => [value, tenant, String(number).padStart(5)];
    expect(found).toHaveLength(1200);
    for (const [i, pair] of found.slice(1).entries()) {
      const [value, ...id] = key(found[i]!);
      const [nextValue, ...nextId] = key(pair);
      expect(nextValue! < value! || (nextValue === value && String(nextId) > String(id))).toBe(
        true,
      );
    }
  });

  it('sorts by an encrypted column where the database has values in clear for equal', async () => {
    const visits = used.dataSource.getRepository(Visit);
    const ward = await used.dataSource.getRepository(Ward).save({ name: 'west', head: 'bob' });
    const rows = ['2.0', '1', '2', '1.00', '2.00'].map((cost, i) => ({ cost, value: 'dacbe'[i]! }));
    await visits.insert(rows.map((row) => ({ ...row, ward })));
    const ids = async (direction: 'ASC' | 'DESC') => {
      const order = { cost: direction, value: 'ASC' } as const;
      const where = [{ ward: { name: 'west' } }, { ward: { head: 'bob' } }];
      const found = await fieldEncryption(used.dataSource).sorted(Visit, { order, where });
      for (const visit of found) expect(visit).toEqual({ id: visit.id });
      return found.map(({ id }) => id);
    };
    expect(await ids('ASC')).toEqual([2, 4, 3, 1, 5]);
    expect(await ids('DESC')).toEqual([3, 1, 5, 2, 4]);
  });

  it('sorts each row once that a condition on its relations finds several times', async () => {
    const wards = await used.dataSource.getRepository(Ward).save([
      { name: 'a', head: 'y' },
      { name: 'b', head: 'x' },
      { name: 'b', head: 'w' },
    ]);
    await used.dataSource
      .getRepository(Visit)
      .insert([...wards, ...wards].map((ward) => ({ cost: '1', value: 'v', ward })));
    const found = await fieldEncryption(used.dataSource).sorted(Ward, {
      where: { visits: { id: MoreThan(0) } },
      order: { name: 'ASC', head: 'ASC' },
    });
    expect(found.map(({ head }) => head)).toEqual(['y', 'w', 'x']);
  });

  it('sees the rows of the transaction that it is given', async () => {
    await used.dataSource.transaction(async (manager) => {
      await manager.getRepository(Person).save({ lastName: 'canary' });
      const handle = fieldEncryption(used.dataSource);
      const found = await handle.sorted(Person, { order: { lastName: 'ASC' } }, { manager });
      expect(lastNames(found)).toEqual(['canary']);
    });
  });

  it('compares what it returns with what was looked up, as find does', async () => {
    const [, b] = await save([{ lastName: 'a' }, { lastName: 'b' }]);
    const token = await fieldEncryption(used.dataSource).token(Person, 'lastName', 'a');
    await used.dataSource.query(
      sqlOf(
        used.dataSource.options,
        `UPDATE person SET "lastName_bidx" = '${token}' WHERE id = ${String(b!.id)}`,
      ),
    );
    const search = sorted({ where: { lastName: 'a' }, order: { age: 'ASC' } });
    expect(await rejection(search)).toBeInstanceOf(IndexIntegrityError);
  });

  it('refuses to sort more rows than its limit, before it reads them', async () => {
    await save([{ lastName: 'canary' }, { lastName: 'b' }, { lastName: 'c', room: 1 }]);
    used.statements.clear();
    const error = await rejection(sorted({ order: { lastName: 'ASC' }, limit: 2, take: 1 }));
    expect(error).toBeInstanceOf(UnsupportedQueryError);
    expect(error).toMatchObject({ entity: 'Person', property: 'lastName' });
    expect(error.message).toContain('3 rows');
    expect(used.statements.statements).toHaveLength(1);
    expect(await sorted({ where: { room: 1 }, order: { age: 'ASC' }, limit: 2 })).toHaveLength(1);
  });

  it.each([
    ['JSON', { notes: 'ASC' }],
    ['a relation', { ward: { name: 'ASC' } }],
    ['an unknown property', { canaries: 'ASC' }],
  ])('refuses to sort by %s', async (_, order) => {
    const error = await rejection(sorted({ order: order as FindOptionsOrder<Person> }));
    expect(error).toBeInstanceOf(UnsupportedQueryError);
    expect(error).toMatchObject({ entity: 'Person', property: Object.keys(order)[0] });
  });

  it.each([{ take: NaN }, { skip: -1 }, { limit: 0.5 }])('refuses %p', async (options) => {
    const error = await rejection(sorted({ order: { age: 'ASC' }, ...options }));
    expect(error).toBeInstanceOf(ConfigurationError);
  });
});
