/* eslint-disable @typescript-eslint/no-extraneous-class -- decorated by calls, not by syntax */
import {
  Column,
  DataSource,
  Entity,
  EntitySchema,
  PrimaryColumn,
  ViewColumn,
  ViewEntity,
  VirtualColumn,
} from 'typeorm';
import type { EntitySchemaColumnOptions, SelectQueryBuilder } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, InvalidFieldPolicyError } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { rawRows, storedPlaintexts } from '../support/stored-rows';
import { qualified, sqlOf } from '../support/sql-of';

@Entity('member')
class Member {
  @PrimaryColumn() id!: number;
  @Column({ nullable: true }) club!: string;
  @Encrypted({ nullable: true, id: 'Member.email' })
  @BlindIndex({ columnName: 'mail_hash' })
  email!: string | null;
}

/** A table without a secret, for queries over both. */
@Entity('office')
class Office {
  @PrimaryColumn() id!: number;
  @Column() email!: string;
}

type Decorate = (prototype: object, property: string) => void;

const viewColumn: Decorate = ViewColumn();
const id = viewColumn;
const FROM = 'FROM member';

function sheet(tableName: string, columns: Record<string, EntitySchemaColumnOptions>) {
  return new EntitySchema({
    ...{ name: 'Sheet', tableName },
    columns: { id: { type: Number, primary: true }, ...columns },
  });
}

const ordinary = { email: { type: String, nullable: true } } as const;

describeDiagonal('Ways round the encryption', (kind) => {
  const cleanup = new Cleanup();
  const isPostgres = kind.type === 'postgres';
  const isSqlite = kind.dialect === 'sqlite';
  let database: TestDatabase;

  beforeEach(async () => {
    database = await cleanup.create(kind);
  });
  afterEach(() => cleanup.run());

  const unopened = (): DataSource => new DataSource(database.dataSourceOptions);
  const open = (...entities: unknown[]): Promise<DataSource> =>
    cleanup.add(protect(database, {}, { entities: [Member, ...entities] as never })).initialize();

  async function filled(...entities: unknown[]): Promise<DataSource> {
    const dataSource = await open(...entities);
    await dataSource.synchronize();
    await dataSource.getRepository(Member).insert({ id: 1, club: 'a', email: 'ada@example.org' });
    return dataSource;
  }

  const refused = async (...entities: unknown[]): Promise<Error> => {
    const error = await rejection(open(...entities));
    expect(error).toBeInstanceOf(InvalidFieldPolicyError);
    expect(error).toMatchObject({ entity: 'Member', property: 'email' });
    return error;
  };

  /** `@ViewEntity({ name: 'member_view', expression }) class MemberView { @decorate property }` */
  function view(
    expression: string | ((dataSource: DataSource) => SelectQueryBuilder<object>),
    properties: Record<string, Decorate>,
  ) {
    class MemberView {}
    const sql = typeof expression === 'string' ? sqlOf(kind, expression) : expression;
    ViewEntity({ name: 'member_view', expression: sql as string })(MemberView);
    for (const [property, decorate] of Object.entries(properties)) {
      decorate(MemberView.prototype, property);
    }
    return MemberView;
  }

  describe('by a view entity', () => {
    it.each<[string, string, Record<string, Decorate>]>([
      ['of the column', `SELECT "id", "email" ${FROM}`, { id, email: viewColumn }],
      ['of it by another name', `SELECT "email" AS "mail" ${FROM}`, { mail: viewColumn }],
      ['of it by a name without AS', `SELECT m.email mail ${FROM} m`, { mail: viewColumn }],
      ['of all columns', `SELECT * ${FROM}`, { id, email: viewColumn }],
      ['of all columns of its table', `SELECT m.* ${FROM} AS m`, { email: viewColumn }],
      ['in other letters', 'select ID, EMAIL from MEMBER', { email: viewColumn }],
      ['of a function of it', `SELECT lower("email") AS "mail" ${FROM}`, { mail: viewColumn }],
      ['of a sub-query of it', `SELECT (SELECT email ${FROM} LIMIT 1) AS x`, { x: viewColumn }],
      ['of a derived table', `SELECT d.email AS x FROM (SELECT * ${FROM}) d`, { x: viewColumn }],
      [
        'of a common table',
        `WITH d AS (SELECT * ${FROM}) SELECT email FROM d`,
        { email: viewColumn },
      ],
      ['of it by a name that is a string', `SELECT email AS 'x' ${FROM}`, { x: viewColumn }],
      ['of a cast', `SELECT email::character varying ${FROM}`, { email: viewColumn }],
      ['that compares it', `SELECT "id" ${FROM} WHERE "email" = 'ada'`, { id }],
      ['of two queries', `SELECT id, '' AS x ${FROM} UNION SELECT id, email ${FROM}`, { id }],
    ])('is refused at initialize(): %s', async (_what, expression, properties) => {
      const error = await refused(view(expression, properties));
      expect(error.message).toContain('MemberView');
    });

    // No other database has rows as values.
    if (isPostgres) {
      it.each(['m.to_jsonb', 'to_jsonb(m)', 'm.unmapped'])(
        'is refused at initialize() where it may show a whole row: %s',
        async (sql) => {
          const error = await refused(view(`SELECT ${sql} AS x ${FROM} m`, { x: viewColumn }));
          expect(error.message).toContain('MemberView');
        },
      );
    }

    it('is refused where its builder selects the column', async () => {
      const expression = (dataSource: DataSource) =>
        dataSource
          .createQueryBuilder()
          .select('m.id', 'id')
          .addSelect('m.email', 'mail')
          .from(Member, 'm') as SelectQueryBuilder<object>;
      await refused(view(expression, { id, mail: viewColumn }));
    });

    it('is refused where it is of another view that shows it', async () => {
      class Outer {}
      ViewEntity({ name: 'outer_view', expression: 'SELECT mail AS y FROM member_view' })(Outer);
      viewColumn(Outer.prototype, 'y');
      const inner = view(`SELECT "email" AS "mail" ${FROM}`, {
        mail: Encrypted({ type: 'string', id: 'Member.email' }),
      });
      const error = await refused(inner, Outer);
      expect(error.message).toContain('Outer');
    });

    it.each<[string, string, Record<string, Decorate>]>([
      ['other columns', `SELECT "id", "club" ${FROM}`, { id, club: viewColumn }],
      ['all columns, of which it has others', `SELECT * ${FROM}`, { id, club: viewColumn }],
      ['rows that have the value', `SELECT "id" ${FROM} WHERE "email" IS NOT NULL`, { id }],
      ['how many have it', `SELECT COUNT("email") AS "total" ${FROM}`, { total: viewColumn }],
      ['how many there are', `SELECT COUNT(*) AS "total" ${FROM}`, { total: viewColumn }],
      ['tokens', `SELECT "id", "mail_hash" ${FROM}`, { id, mail_hash: viewColumn }],
      [
        'a column of that name of another table',
        `SELECT o."email" FROM "office" o JOIN "member" m ON m."id" = o."id"`,
        { email: viewColumn },
      ],
      [
        'a column of that name of another table, and asks for rows of this',
        `SELECT "email" FROM "office" WHERE EXISTS (SELECT * ${FROM} WHERE "club" = 'email')`,
        { email: viewColumn },
      ],
      [
        'a column of that name of another table, in a row of this',
        `SELECT "id", (SELECT "email" FROM "office" LIMIT 1) AS "email" ${FROM}`,
        { id, email: viewColumn },
      ],
      ['other columns of a sub-query', `SELECT d."id" FROM (SELECT * ${FROM}) d`, { id }],
      [
        'it as an encrypted property of a common table',
        `WITH d AS (SELECT * ${FROM}) SELECT "id", "email" AS "mail" FROM d`,
        { id, mail: Encrypted({ type: 'string', id: 'Member.email' }) },
      ],
      [
        'it as an encrypted property',
        `SELECT "id", "email" ${FROM}`,
        { id, email: Encrypted({ type: 'string', id: 'Member.email' }) },
      ],
    ])('is none where it shows %s', async (_what, expression, properties) => {
      const MemberView = view(expression, properties);
      const dataSource = await filled(MemberView, Office);
      await expect(dataSource.getRepository(MemberView).find()).resolves.toBeDefined();
    });

    it('reads the value where its property is encrypted, too', async () => {
      const MemberView = view(`SELECT "id", "email" AS "mail" ${FROM}`, {
        id,
        mail: Encrypted({ type: 'string', id: 'Member.email' }),
      });
      const dataSource = await filled(MemberView);
      expect(await dataSource.getRepository(MemberView).find()).toEqual([
        { id: 1, mail: 'ada@example.org' },
      ]);
    });
  });

  describe('by a virtual column', () => {
    const withVirtual = (select: (alias: string) => string) => {
      class Desk {}
      Entity('desk')(Desk);
      PrimaryColumn('int')(Desk.prototype, 'id');
      const query = (alias: string): string => sqlOf(kind, select(alias));
      VirtualColumn({ type: 'varchar', query })(Desk.prototype, 'shown');
      return Desk;
    };

    it.each<[string, (alias: string) => string]>([
      ['a column', (alias) => `SELECT "email" ${FROM} WHERE "id" = ${alias}."id"`],
      ['the largest of one', (alias) => `SELECT MAX(m.email) ${FROM} m WHERE m.id = ${alias}.id`],
      ['a whole row', () => `SELECT row_to_json(x) FROM (SELECT * ${FROM}) x`],
    ])('is refused at initialize(): %s', async (_what, query) => {
      expect((await refused(withVirtual(query))).message).toContain('Desk.shown');
    });

    it('is refused over an encrypted column of its own entity', async () => {
      class Locker {}
      Entity('locker')(Locker);
      PrimaryColumn('int')(Locker.prototype, 'id');
      Encrypted({ type: 'string' })(Locker.prototype, 'code');
      VirtualColumn({ type: 'varchar', query: (alias) => `lower(${alias}.code)` })(
        Locker.prototype,
        'shown',
      );
      const error = await rejection(open(Locker));
      expect(error).toMatchObject({ entity: 'Locker', property: 'code' });
      expect(error.message).toContain('Locker.shown');
    });

    it('is none over other columns of the table', async () => {
      const Desk = withVirtual(
        (alias) => `SELECT COUNT(*) ${FROM} WHERE "id" = ${alias}."id" AND "email" IS NOT NULL`,
      );
      const dataSource = await filled(Desk);
      await dataSource.getRepository(Desk).insert({ id: 1 });
      const [desk] = await dataSource.getRepository<{ shown: unknown }>(Desk).find();
      expect(Number(desk?.shown)).toBe(1);
    });
  });

  describe('by another entity of the table', () => {
    const names = {
      sqlite: ['SCHEMA.member', 'MAIN.Member', 'MEMBER', '"member"'],
      postgres: ['SCHEMA.member', '"member"', '"public"."member"'],
      mysql: ['SCHEMA.member', '"member"'],
    }[kind.dialect];

    it.each(names)('is refused at initialize(): %s', async (text) => {
      const [schema = ''] = qualified(unopened(), 'member').split('.');
      const name = sqlOf(kind, text.replace('SCHEMA', schema));
      const error = await refused(sheet(name, ordinary));
      expect(error.message).toContain('Sheet');
    });

    it('is refused where it names a database as well', async () => {
      const current = String(unopened().driver.database);
      const named = {
        sqlite: `./${current.split('/').pop() ?? ''}`,
        postgres: 'elsewhere',
        mysql: current,
      }[kind.dialect];
      const entity = new EntitySchema({
        ...{ name: 'Sheet', tableName: 'member', database: named },
        columns: { id: { type: Number, primary: true }, ...ordinary },
      });
      await refused(entity);
    });

    it('is refused where it has the index column for an ordinary one', async () => {
      const error = await refused(sheet('member', { mail_hash: { type: String } }));
      expect(error.message).toMatch(/index column "mail_hash"/);
    });

    const overView = isSqlite ? it.skip : it;
    overView('is refused where it is of a view that the database has over the table', async () => {
      const before = await filled();
      await before.query(`CREATE VIEW inner_view AS SELECT id, email AS mail ${FROM}`);
      await before.query('CREATE VIEW listed AS SELECT * FROM inner_view');
      await before.destroy();
      await refused(sheet('listed', { mail: { type: String } }));
      await refused(sheet(qualified(before, 'inner_view'), { mail: { type: String } }));
      await expect(open(sheet('listed', { other: { type: String } }))).resolves.toBeDefined();
    });

    overView('is refused where the database has another view than the entity says', async () => {
      const before = await filled();
      await before.query(`CREATE VIEW member_view AS SELECT id, email ${FROM}`);
      await before.destroy();
      await refused(view('SELECT 1', { id, email: viewColumn }));
    });

    overView('is refused where a write names such a view', async () => {
      const before = await filled();
      await before.query(`CREATE VIEW listed AS SELECT id, email ${FROM}`);
      await before.destroy();
      const dataSource = await open();
      for (const name of ['listed', qualified(dataSource, 'listed')]) {
        const write = dataSource.createQueryBuilder().insert().into(name);
        const error = await rejection(write.values({ id: 2, email: 'clear' }).execute());
        expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED_QUERY', entity: 'Member' });
      }
      expect(await storedPlaintexts(dataSource, Member)).toHaveLength(1);
    });
  });

  it('by another name of the table in a write is refused', async () => {
    const dataSource = await filled();
    const table = qualified(dataSource, 'member');
    const others = {
      sqlite: ['main.MEMBER'],
      postgres: [`${String(dataSource.driver.database)}.public.member`, '"public"."member"'],
      mysql: [table.replaceAll(/\w+/g, '`$&`')],
    }[kind.dialect];
    for (const name of [table, ...others]) {
      const insert = dataSource.createQueryBuilder().insert().into(name);
      const update = dataSource.createQueryBuilder().update(name).set({ email: 'clear' });
      for (const write of [insert.values({ id: 2, email: 'clear' }), update]) {
        expect(await rejection(write.execute())).toMatchObject({
          ...{ code: 'ERR_UNSUPPORTED_QUERY', entity: 'Member' },
        });
      }
    }
  });

  it('by a DataSource that was not wrapped is refused for its own entities by any name', async () => {
    await (await filled()).destroy();
    const name = qualified(unopened(), 'member');
    const options = { ...database.dataSourceOptions, synchronize: false };
    const entities = [Member, sheet(name, ordinary)];
    const plain = cleanup.add(new DataSource({ ...options, entities }));
    await plain.initialize();
    for (const write of [
      () =>
        plain.createQueryBuilder().insert().into(name).values({ id: 2, email: 'clear' }).execute(),
      () => plain.createQueryBuilder().delete().from(name).execute(),
      () => plain.getRepository('Sheet').insert({ id: 2, email: 'clear' }),
    ]) {
      expect(await rejection(write)).toMatchObject({ code: 'ERR_CONFIGURATION' });
    }
  });

  it('by a DataSource that knows nothing of the entity is stopped by the database', async () => {
    await (await filled()).destroy();
    const plain = cleanup.add(new DataSource({ ...database.dataSourceOptions }));
    await plain.initialize();
    const write = plain.createQueryBuilder().insert().into('member');
    expect(String(await rejection(write.values({ id: 2, email: 'clear' }).execute()))).toMatch(
      /check|chk_/i,
    );
  });

  describe('into the index column', () => {
    it.each<[string, (dataSource: DataSource) => Promise<unknown>]>([
      ['insert', (ds) => ds.getRepository(Member).insert({ id: 2, mail_hash: 'x' } as never)],
      ['update', (ds) => ds.getRepository(Member).update(1, { mail_hash: 'x' } as never)],
      ['a null', (ds) => ds.getRepository(Member).update(1, { mail_hash: null } as never)],
      ['SQL', (ds) => ds.getRepository(Member).update(1, { mail_hash: () => "'x'" } as never)],
      [
        'upsert',
        (ds) => ds.getRepository(Member).upsert({ id: 1, mail_hash: 'x' } as never, ['id']),
      ],
      [
        'a query builder',
        (ds) =>
          ds
            .createQueryBuilder()
            .update(Member)
            .set({ mail_hash: 'x' } as never)
            .execute(),
      ],
    ])('is refused: %s', async (_what, write) => {
      const dataSource = await filled();
      const before = await rawRows(dataSource, Member);
      expect(await rejection(write(dataSource))).toMatchObject({
        ...{ code: 'ERR_UNSUPPORTED_QUERY', entity: 'Member', property: 'email' },
        message: expect.stringMatching(/mail_hash.*Write email instead/) as string,
      });
      expect(await rawRows(dataSource, Member)).toEqual(before);
    });

    it('goes nothing but the token where the property is written along, and by save', async () => {
      const dataSource = await filled();
      const members = dataSource.getRepository(Member);
      await members.insert({ id: 2, email: 'bob@example.org', mail_hash: 'x' } as never);
      await members.update(1, { email: 'cy@example.org', mail_hash: 'x' } as never);
      await members.save({ id: 2, club: 'b', mail_hash: 'x' } as never);
      await members.save({ id: 3, mail_hash: 'x' } as never);
      expect(await storedPlaintexts(dataSource, Member)).toHaveLength(3);
      expect(await members.existsBy({ email: 'cy@example.org' })).toBe(true);
    });

    it('may be asked for by token', async () => {
      const dataSource = await filled();
      const token = await fieldEncryption(dataSource).token(Member, 'email', 'ada@example.org');
      const members = dataSource.getRepository(Member);
      const criteria = { mail_hash: token } as never;
      expect(await members.countBy(criteria)).toBe(1);
      expect(await members.update(criteria, { club: 'z' })).toMatchObject({ affected: 1 });
      expect(await members.delete(criteria)).toMatchObject({ affected: 1 });
    });
  });
});
