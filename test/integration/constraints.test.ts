import { inspect } from 'node:util';
import { EntitySchema, QueryFailedError } from 'typeorm';
import type { DataSource, EntitySchemaColumnOptions, EntitySchemaOptions } from 'typeorm';
import {
  blindIndexColumns,
  encryptedColumn,
  fieldEncryption,
  InvalidFieldPolicyError,
} from '../../src';
import { describeDiagonal } from '../support/databases';
import { StatementLog } from '../support/lookup-world';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { sqlOf } from '../support/sql-of';

type Extra = Pick<EntitySchemaOptions<object>, 'checks' | 'exclusions' | 'indices'>;

function guest(extra: Extra, more: Record<string, EntitySchemaColumnOptions> = {}): EntitySchema {
  return new EntitySchema({
    name: 'Guest',
    columns: {
      id: { type: 'integer', primary: true },
      room: { type: 'varchar' },
      nights: { type: 'integer', nullable: true },
      yearsOld: encryptedColumn({ type: 'number', nullable: true, name: 'Age' }),
      ...blindIndexColumns('yearsOld', { columnName: 'age_bidx' }),
      ...more,
    },
    ...extra,
  });
}

describeDiagonal('What the database is to check of an encrypted column', (kind) => {
  const check = (sql: string): Extra => ({ checks: [{ expression: sqlOf(kind, sql) }] });
  const partial = (sql: string): Extra => ({
    indices: [{ columns: ['room'], unique: true, where: sqlOf(kind, sql) }],
  });
  const computed = (sql: string): Record<string, EntitySchemaColumnOptions> => ({
    sum: {
      ...{ type: 'integer', nullable: true, insert: false, update: false },
      ...{ generatedType: 'STORED', asExpression: sqlOf(kind, sql) },
    },
  });
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  async function open(...entities: EntitySchema[]): Promise<DataSource> {
    const database = await cleanup.create(kind, { entities, synchronize: true });
    return cleanup.add(protect(database)).initialize();
  }

  it.each<[string, EntitySchema, RegExp]>([
    ['a CHECK by the column name', guest(check('"Age" >= 18')), /CHECK constraint "CHK_/],
    ['a CHECK in other letters', guest(check('age >= 18')), /CHECK/],
    ['a CHECK by the property', guest(check('yearsOld >= 18')), /CHECK/],
    ['a CHECK by table and column', guest(check('"guest"."Age" >= 18')), /CHECK/],
    ['a CHECK behind others', guest(check(`"room" <> 'age' AND (age + 1 > 2)`)), /CHECK/],
    ['a CHECK of a cast', guest(check('"Age"::int > 2')), /CHECK/],
    ['a CHECK of a cast to a type with a length', guest(check('Age::numeric(5, 2) > 2')), /CHECK/],
    ['a partial index', guest(partial('"Age" >= 18')), /index "IDX_.*test for NULL/],
    ['a generated column', guest({}, computed('"Age" + 1')), /generated column "sum"/],
  ])('is refused: %s', async (_what, entity, what) => {
    const error = await rejection(open(entity));
    expect(error).toBeInstanceOf(InvalidFieldPolicyError);
    expect(error).toMatchObject({ entity: 'Guest', property: 'yearsOld' });
    expect(error.message).toMatch(what);
  });

  // TypeORM knows exclusion constraints of PostgreSQL only.
  const exclusions = kind.type === 'postgres' ? it : it.skip;
  exclusions('is refused: an exclusion constraint', async () => {
    const exclusion = { expression: 'USING gist ("room" WITH =, "Age" WITH =)' };
    const error = await rejection(open(guest({ exclusions: [exclusion] })));
    expect(error).toMatchObject({ code: 'ERR_FIELD_POLICY', property: 'yearsOld' });
    expect(error.message).toMatch(/exclusion.*BlindIndex/);
  });

  it('is refused where another entity of the table says it', async () => {
    const list = new EntitySchema({
      ...{ name: 'List', tableName: 'guest' },
      columns: { id: { type: 'integer', primary: true } },
      ...check('"Age" > 0'),
    });
    const error = await rejection(open(guest({}), list));
    expect(error).toMatchObject({ code: 'ERR_FIELD_POLICY', entity: 'Guest' });
  });

  it.each<[string, EntitySchema]>([
    ['a CHECK of other columns', guest(check(`"nights" >= 1 AND "room" <> 'Age'`))],
    ['a test for NULL', guest(check('"Age" IS NOT NULL OR "nights" IS NULL'))],
    ['a partial index of rows that have a value', guest(partial('"Age" IS NOT NULL'))],
    ['a partial index of other columns', guest(partial('"nights" > 3'))],
    ['the index column', guest(check('"age_bidx" IS NULL OR length("age_bidx") > 9'))],
    ['a generated column of others', guest({}, computed('"nights" * 2'))],
    ['a name that only holds it', guest(check('"nights" > 0 AND "room" <> \'age >= 18\''))],
    // Nowhere else may a CHECK say it.
    ...(kind.type === 'postgres'
      ? [
          [
            'a literal whose type is called like a column',
            guest(check(`"nights" > 0 AND current_date > date '2020-01-01'`), {
              date: encryptedColumn({ type: 'date', nullable: true }),
            }),
          ] as [string, EntitySchema],
        ]
      : []),
  ])('is made where it is %s', async (_what, entity) => {
    const dataSource = await open(entity);
    await dataSource.getRepository('Guest').insert({ id: 1, room: '1', nights: 2, yearsOld: 12 });
    expect(await dataSource.getRepository('Guest').countBy({ yearsOld: 12 })).toBe(1);
  });
});

interface Lodger {
  id: number;
  room: string;
  nights: number;
  email: string;
  note: string | null;
}

describeDiagonal('The error of a constraint', (kind) => {
  const cleanup = new Cleanup();
  const CANARY = 'failing-row-canary';
  /** SQL for it in which it does not stand. */
  const canary = `REPLACE('failing-row-#', '#', 'canary')`;
  const isMysql = kind.dialect === 'mysql';
  const log = new StatementLog();
  let ds: DataSource;

  const lodger = new EntitySchema<Lodger>({
    name: 'Lodger',
    columns: {
      id: { type: 'integer', primary: true },
      room: { type: 'varchar' },
      nights: { type: 'integer', default: 1 },
      email: encryptedColumn(),
      ...blindIndexColumns('email', { unique: true }),
      note: encryptedColumn({ nullable: true }),
    },
    checks: [{ expression: 'nights < 100' }],
  });
  const doorKey = new EntitySchema<{ id: number; label: string; hook: number }>({
    name: 'DoorKey',
    columns: {
      id: { type: 'integer', primary: true },
      label: { type: 'varchar', unique: true },
      hook: { type: 'integer' },
    },
  });

  beforeAll(async () => {
    const database = await cleanup.create(kind, { entities: [lodger, doorKey], synchronize: true });
    const options = { legacyPlaintext: ['Lodger.note'] };
    ds = cleanup.add(protect(database, options, { logging: true, logger: log }));
    await ds.initialize();
    await ds.getRepository(lodger).insert([
      { id: 1, room: 'a', email: 'ada@example.org' },
      { id: 2, room: 'b', email: 'bob@example.org' },
    ]);
    // TypeORM makes none of its own on MySQL.
    if (isMysql) await ds.query('ALTER TABLE lodger ADD CONSTRAINT few CHECK (nights < 100)');
    await ds.query(`UPDATE lodger SET note = ${canary}`);
    await ds.getRepository(doorKey).insert({ id: 1, label: 'brass', hook: 1 });
    await ds.query(
      'CREATE TABLE copies (id integer, note varchar(90) UNIQUE, at integer NOT NULL)',
    );
  });
  afterAll(() => cleanup.run());

  /** What the last of some statements fails with; none of them lasts. */
  async function failure(...statements: string[]): Promise<Error> {
    const runner = ds.createQueryRunner();
    await runner.startTransaction();
    try {
      for (const sql of statements.slice(0, -1)) await runner.query(sql);
      return await rejection(runner.query(statements.at(-1) ?? ''));
    } finally {
      await runner.rollbackTransaction();
      await runner.release();
    }
  }

  const everywhere: [string, string[]][] = [
    ['the CHECK against cleartext', [`UPDATE lodger SET email = ${canary}`]],
    ['another CHECK', ['UPDATE lodger SET nights = 100']],
    ['NOT NULL', ['UPDATE lodger SET room = NULL']],
    ['a unique index', [`CREATE UNIQUE INDEX old ON lodger (${isMysql ? 'note(20)' : 'note'})`]],
    ['a table that no entity maps', ['INSERT INTO copies SELECT id, note, NULL FROM lodger']],
    ['a unique table that no entity maps', ['INSERT INTO copies SELECT id, note, 1 FROM lodger']],
  ];
  const index: [string, string[]] = [
    'an index of an expression',
    ['CREATE UNIQUE INDEX old ON lodger (lower(note))'],
  ];
  const view: [string, string[]] = [
    'a view',
    [
      'CREATE VIEW lodgers AS SELECT * FROM lodger WHERE nights < 5 WITH CHECK OPTION',
      'UPDATE lodgers SET nights = 9',
    ],
  ];
  const here: [string, string[]][] = {
    sqlite: [index],
    postgres: [
      index,
      view,
      ['an exclusion', ['ALTER TABLE lodger ADD EXCLUDE USING btree (note WITH =)']],
      [
        'a partition',
        [
          'CREATE TABLE parts (id integer, note varchar) PARTITION BY LIST (note)',
          'INSERT INTO parts SELECT id, note FROM lodger',
        ],
      ],
    ] satisfies [string, string[]][],
    mysql: [view],
  }[kind.dialect];

  it.each([...everywhere, ...here])('shows nothing of the rows: %s', async (_what, statements) => {
    log.mark();
    const error = await failure(...statements);
    expect(error).toBeInstanceOf(QueryFailedError);
    expect(error.message).toMatch(/constraint|check option|partition|unique|duplicate|be null/i);
    const shown = [inspect(error, { depth: 9, showHidden: true }), ...log.sinceMark()].join();
    expect(shown).not.toContain(CANARY);
  });

  it('shows no token, and which columns are not unique together', async () => {
    const insert = () =>
      ds.getRepository(lodger).insert({ id: 3, room: 'c', email: 'ada@example.org' });
    const error = await rejection(insert);
    const token = await fieldEncryption(ds).token('Lodger', 'email', 'ada@example.org');
    const { parameters, ...shown } = error as QueryFailedError;
    expect(parameters).toContain(token);
    expect(inspect([error.message, shown], { depth: 9 })).not.toContain(token);
    expect(inspect(error, { depth: 9 })).toMatch(/email_bidx/);
    if (kind.type !== 'postgres') return;
    const detail = 'Key (email_bidx)=([encrypted]) already exists.';
    expect(error).toMatchObject({ code: '23505', detail, driverError: { detail } });
  });

  // The detail is of PostgreSQL. For MySQL, mysql-sessions tries it.
  if (kind.type === 'postgres') {
    it('shows as much as ever of keys and tables without encrypted columns', async () => {
      const detail = async (sql: string): Promise<unknown> =>
        ((await failure(sql)) as { detail?: unknown }).detail;
      expect(await detail(`INSERT INTO door_key VALUES (2, 'brass', 2)`)).toBe(
        'Key (label)=(brass) already exists.',
      );
      expect(await detail(`INSERT INTO door_key VALUES (2, 'steel', NULL)`)).toBe(
        'Failing row contains (2, steel, null).',
      );
      expect(await detail('INSERT INTO lodger SELECT * FROM lodger WHERE id = 1')).toBe(
        'Key (id)=(1) already exists.',
      );
    });
  }
});
