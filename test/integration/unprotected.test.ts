import {
  Column,
  DataSource,
  DeleteDateColumn,
  Entity,
  EntitySchema,
  ManyToOne,
  OneToMany,
  PrimaryColumn,
  PrimaryGeneratedColumn,
} from 'typeorm';
import type { EntityTarget, ObjectLiteral, Repository } from 'typeorm';
import {
  BlindIndex,
  blindIndexColumns,
  ConfigurationError,
  Encrypted,
  encryptedColumn,
} from '../../src';
import { describeEachDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { sqlOf } from '../support/sql-of';

const SECRET = 'plain-078-05-1120';

@Entity()
class Person {
  @PrimaryGeneratedColumn() id!: number;
  @Column({ nullable: true }) name!: string;
  @Encrypted({ nullable: true }) @BlindIndex() ssn!: string | null;
  @DeleteDateColumn() deletedAt!: Date | null;
  @OneToMany(() => Letter, (letter) => letter.person) letters!: Letter[];
}

/** Not encrypted itself, but related to an entity that is. */
@Entity()
class Letter {
  @PrimaryGeneratedColumn() id!: number;
  @Column() text!: string;
  @ManyToOne(() => Person, (person) => person.letters, { cascade: true, nullable: true })
  person!: Person | null;
}

@Entity()
class Note {
  @PrimaryGeneratedColumn() id!: number;
  @Column({ unique: true }) text!: string;
}

interface PersonRow {
  id: number;
  name: string | null;
  ssn: string | null;
  deletedAt: Date | null;
}

const PersonSchema = new EntitySchema<PersonRow>({
  name: 'SchemaPerson',
  columns: {
    id: { type: Number, primary: true, generated: true },
    name: { type: String, nullable: true },
    ssn: encryptedColumn({ nullable: true }),
    ...blindIndexColumns('ssn'),
    deletedAt: { type: Date, nullable: true, deleteDate: true },
  },
});

const asIs = { to: (value: unknown) => value, from: (value: unknown) => value };

/** What follows the spread takes the guard of the column away. */
const LooseSchema = new EntitySchema<{ id: number; ssn: string }>({
  name: 'Loose',
  columns: {
    id: { type: Number, primary: true },
    ssn: { ...encryptedColumn(), transformer: asIs },
    ssn_bidx: { ...blindIndexColumns('ssn')['ssn_bidx'], transformer: asIs },
  } as never,
});

class Base {
  @PrimaryColumn() id!: number;
  @Encrypted() secret!: string;
}

@Entity()
class Heir extends Base {}

@Entity()
class OpenHeir extends Base {
  @Column() override secret = '';
}

class OpenBase {
  @PrimaryColumn() id!: number;
  @Column() secret!: string;
}

/** The property is encrypted here, whatever the base class made of it. */
@Entity()
class ClosedHeir extends OpenBase {
  @Encrypted() override secret = '';
}

@Entity()
class ColumnAbove {
  @PrimaryColumn() id!: number;
  @Column() @Encrypted() secret!: string;
}

@Entity()
class ColumnBelow {
  @PrimaryColumn() id!: number;
  @Encrypted() @Column() secret!: string;
}

class Address {
  @Encrypted() street!: string;
}

@Entity()
class House {
  @PrimaryColumn() id!: number;
  @Column(() => Address) address!: Address;
}

const ENTITIES = [
  Person,
  Letter,
  Note,
  PersonSchema,
  LooseSchema,
  Heir,
  OpenHeir,
  ClosedHeir,
  ColumnAbove,
  ColumnBelow,
  House,
];

type People = Repository<ObjectLiteral>;

const READS: Readonly<Record<string, (people: People) => unknown>> = {
  find: (people) => people.find(),
  'find by an encrypted property': (people) => people.find({ where: { ssn: SECRET } }),
  'find of other columns': (people) => people.find({ select: { id: true, name: true } }),
  findBy: (people) => people.findBy({ name: 'Ada' }),
  findOneBy: (people) => people.findOneBy({ id: 1 }),
  findOneByOrFail: (people) => people.findOneByOrFail({ id: 1 }),
  findAndCount: (people) => people.findAndCount(),
  count: (people) => people.count(),
  'countBy an encrypted property': (people) => people.countBy({ ssn: SECRET }),
  exists: (people) => people.exists(),
  maximum: (people) => people.maximum('id'),
  'query builder getMany': (people) => people.createQueryBuilder('p').getMany(),
  'query builder getRawMany': (people) => people.createQueryBuilder('p').getRawMany(),
  'query builder getCount': (people) => people.createQueryBuilder('p').getCount(),
  'query builder of one column': (people) =>
    people.createQueryBuilder('p').select('p.name').getMany(),
  'query builder with a string condition': (people) =>
    people.createQueryBuilder('p').where('p.ssn = :ssn', { ssn: SECRET }).getMany(),
  stream: (people) => people.createQueryBuilder('p').stream(),
  'sub-query': (people) =>
    people.manager
      .createQueryBuilder()
      .select('n.id')
      .from(Note, 'n')
      .where((q) => `n.id IN ${q.subQuery().select('p.id').from(people.target, 'p').getQuery()}`)
      .getMany(),
};

const WRITES: Readonly<Record<string, (people: People) => unknown>> = {
  save: (people) => people.save({ name: 'Ada', ssn: SECRET }),
  'save without the encrypted property': (people) => people.save({ name: 'Ada' }),
  'save with null in it': (people) => people.save({ name: 'Ada', ssn: null }),
  'save without listeners': (people) => people.save({ ssn: SECRET }, { listeners: false }),
  'save of several': (people) => people.save([{ ssn: SECRET }, { ssn: SECRET }]),
  insert: (people) => people.insert({ ssn: SECRET }),
  'insert without the encrypted property': (people) => people.insert({ name: 'Ada' }),
  update: (people) => people.update({ id: 1 }, { ssn: SECRET }),
  'update of another column': (people) => people.update({ id: 1 }, { name: 'Eve' }),
  'update by an encrypted property': (people) => people.update({ ssn: SECRET }, { name: 'Eve' }),
  upsert: (people) => people.upsert({ id: 1, ssn: SECRET }, ['id']),
  delete: (people) => people.delete({ id: 1 }),
  softDelete: (people) => people.softDelete({ id: 1 }),
  restore: (people) => people.restore({ id: 1 }),
  increment: (people) => people.increment({ id: 1 }, 'id', 1),
  'insert by query builder': (people) =>
    people.createQueryBuilder().insert().values({ ssn: SECRET }).execute(),
  'insert of an SQL expression': (people) =>
    people
      .createQueryBuilder()
      .insert()
      .values({ ssn: () => `'${SECRET}'` })
      .execute(),
  'update by query builder': (people) =>
    people.createQueryBuilder().update().set({ ssn: SECRET }).execute(),
  'update of an SQL expression': (people) =>
    people
      .createQueryBuilder()
      .update()
      .set({ ssn: () => `'${SECRET}'` })
      .execute(),
  'delete by query builder': (people) => people.createQueryBuilder().delete().execute(),
};

describeEachDatabase('An encrypted entity in a DataSource that was not wrapped', (kind) => {
  const cleanup = new Cleanup();
  let plain: DataSource;

  beforeAll(async () => {
    const database = await cleanup.create(kind, { entities: ENTITIES, synchronize: true });
    plain = cleanup.add(await new DataSource(database.dataSourceOptions).initialize());
  });

  afterAll(() => cleanup.run());

  async function rows(table: string): Promise<Record<string, unknown>[]> {
    return plain.query<Record<string, unknown>[]>(sqlOf(plain.options, `SELECT * FROM "${table}"`));
  }

  const forms: readonly [string, EntityTarget<ObjectLiteral>, string, string][] = [
    ['a decorated class', Person, 'Person', 'person'],
    ['an EntitySchema', PersonSchema, 'SchemaPerson', 'schema_person'],
  ];

  describe.each(forms)('(%s)', (_form, target, name, table) => {
    const operations = { ...READS, ...WRITES };

    it.each(Object.keys(operations))(
      'refuses %s by name while the table is empty',
      async (what) => {
        const error = await rejection(async () => operations[what]?.(plain.getRepository(target)));

        expect(error).toBeInstanceOf(ConfigurationError);
        expect(error).toMatchObject({ code: 'ERR_CONFIGURATION', entity: name, property: 'ssn' });
        expect(error.message).toContain(`${name}.ssn`);
        expect(error.message).toContain('withFieldEncryption');
        expect(error.message).not.toContain(SECRET);
        expect(await rows(table)).toEqual([]);
      },
    );

    it.each(Object.keys(operations))('refuses %s when there are rows', async (what) => {
      await plain.query(
        sqlOf(plain.options, `INSERT INTO "${table}" (id, name, ssn) VALUES (1, 'Ada', 'stored')`),
      );
      try {
        const before = await rows(table);
        const error = await rejection(async () => operations[what]?.(plain.getRepository(target)));

        expect(error).toBeInstanceOf(ConfigurationError);
        expect(error).toMatchObject({ entity: name, property: 'ssn' });
        expect(await rows(table)).toEqual(before);
      } finally {
        await plain.query(sqlOf(plain.options, `DELETE FROM "${table}"`));
      }
    });
  });

  it('refuses remove and softRemove of a loaded entity', async () => {
    await plain.query(`INSERT INTO person (id, name, ssn) VALUES (7, 'Ada', 'stored')`);
    const people = plain.getRepository(Person);
    const ada = people.create({ id: 7, name: 'Ada' });
    for (const work of [() => people.remove(ada), () => people.softRemove(ada)]) {
      expect(await rejection(work)).toMatchObject({ code: 'ERR_CONFIGURATION', entity: 'Person' });
    }
    expect(await rows('person')).toHaveLength(1);
    await plain.query('DELETE FROM person');
  });

  it('refuses joins to it and cascades into it from an entity that is not encrypted', async () => {
    const letters = plain.getRepository(Letter);
    const refused = [
      () => letters.find({ relations: { person: true } }),
      () => letters.find({ where: { person: { name: 'Ada' } } }),
      () => letters.createQueryBuilder('l').leftJoinAndSelect('l.person', 'p').getMany(),
      () => letters.createQueryBuilder('l').leftJoin('l.person', 'p').getMany(),
      () => letters.save({ text: 'Dear', person: { name: 'Ada', ssn: SECRET } }),
    ];
    for (const work of refused) {
      const error = await rejection(work);
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error).toMatchObject({ entity: 'Person', property: 'ssn' });
    }
    expect(await rows('person')).toEqual([]);
    expect(await rows('letter')).toEqual([]);
  });

  it('leaves entities without encryption working, even those related to it', async () => {
    const notes = plain.getRepository(Note);
    const { id } = await notes.save({ text: 'one' });
    await notes.insert({ text: 'two' });
    await notes.update({ text: 'two' }, { text: 'three' });
    await notes.upsert({ text: 'three' }, ['text']);
    expect(await notes.findBy({ text: 'one' })).toEqual([{ id, text: 'one' }]);
    expect(await notes.count()).toBe(2);
    await notes.delete({ text: 'one' });
    expect(await notes.createQueryBuilder('n').select('n.text').getRawMany()).toEqual([
      { n_text: 'three' },
    ]);

    const letters = plain.getRepository(Letter);
    await letters.save({ text: 'Dear' });
    expect(await letters.find()).toMatchObject([{ text: 'Dear' }]);
    await letters.clear();
  });

  it.each([
    ['inherits the encrypted property', Heir, 'heir'],
    ['overrides it with @Column', OpenHeir, 'open_heir'],
    ['encrypts a property that its base class does not', ClosedHeir, 'closed_heir'],
    ['has @Column above @Encrypted', ColumnAbove, 'column_above'],
    ['has @Column below @Encrypted', ColumnBelow, 'column_below'],
  ])('refuses an entity that %s', async (_what, target, table) => {
    const repository = plain.getRepository<ObjectLiteral>(target);
    const refused = [
      () => repository.save({ id: 1, secret: SECRET }),
      () => repository.insert({ id: 1, secret: SECRET }),
      () => repository.upsert({ id: 1, secret: SECRET }, ['id']),
      () => repository.find(),
    ];
    for (const work of refused) {
      const error = await rejection(work);
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error).toMatchObject({ property: 'secret' });
    }
    expect(await rows(table)).toEqual([]);
  });

  it('refuses an EntitySchema that has another transformer in place of the guard', async () => {
    const repository = plain.getRepository(LooseSchema);
    const refused = [
      () => repository.save({ id: 1, ssn: SECRET }),
      () => repository.insert({ id: 1, ssn: SECRET }),
      () => repository.update({ id: 1 }, { ssn: SECRET }),
      () => repository.upsert({ id: 1, ssn: SECRET }, ['id']),
      () => repository.find(),
    ];
    for (const work of refused) {
      const error = await rejection(work);
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error).toMatchObject({ entity: 'Loose', property: 'ssn' });
    }
    expect(await rows('loose')).toEqual([]);
  });

  it('refuses an entity whose encrypted property is in an embedded one', async () => {
    const houses = plain.getRepository(House);
    const refused = [
      () => houses.save({ id: 1, address: { street: SECRET } }),
      () => houses.insert({ id: 1, address: { street: SECRET } }),
      () => houses.find(),
    ];
    for (const work of refused) {
      const error = await rejection(work);
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error).toMatchObject({ entity: 'House', property: 'address.street' });
    }
    expect(await rows('house')).toEqual([]);
  });
});

describeEachDatabase('@Column beside @Encrypted in a wrapped DataSource', (kind) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  it.each([
    ['above', ColumnAbove, 'ColumnAbove'],
    ['below', ColumnBelow, 'ColumnBelow'],
  ])('is refused at initialize() when it stands %s', async (_where, target, name) => {
    const database = await cleanup.create(kind, { entities: [target], synchronize: true });
    const error = await rejection(cleanup.add(protect(database)).initialize());
    expect(error).toMatchObject({ code: 'ERR_FIELD_POLICY', entity: name, property: 'secret' });
    expect(error.message).toContain('Remove');
  });

  it('is refused where it stands in a base class, whose column TypeORM prefers', async () => {
    const database = await cleanup.create(kind, { entities: [ClosedHeir], synchronize: true });
    const error = await rejection(cleanup.add(protect(database)).initialize());
    expect(error).toMatchObject({
      code: 'ERR_FIELD_POLICY',
      entity: 'ClosedHeir',
      property: 'secret',
    });
    expect(error.message).toContain('base class');
  });

  it('loses against @Encrypted in a base class', async () => {
    const database = await cleanup.create(kind, { entities: [Heir, OpenHeir], synchronize: true });
    const dataSource = cleanup.add(protect(database));
    await dataSource.initialize();
    for (const [target, table] of [
      [Heir, 'heir'],
      [OpenHeir, 'open_heir'],
    ] as const) {
      const repository = dataSource.getRepository<ObjectLiteral>(target);
      await repository.save({ id: 1, secret: SECRET });
      const stored = await dataSource.query<ObjectLiteral[]>(
        sqlOf(dataSource.options, `SELECT secret FROM "${table}"`),
      );
      expect(stored[0]?.['secret']).toMatch(/^[\w-]{66,}$/);
      expect(await repository.find()).toEqual([{ id: 1, secret: SECRET }]);
    }
  });
});
