import { EntitySchema } from 'typeorm';
import type { DataSource, EntitySchemaColumnOptions, EntitySchemaOptions } from 'typeorm';
import { blindIndexColumns, encryptedColumn, InvalidFieldPolicyError } from '../../src';
import { describePostgresAndSqlite } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

type Extra = Pick<EntitySchemaOptions<object>, 'checks' | 'exclusions' | 'indices'>;

const check = (expression: string): Extra => ({ checks: [{ expression }] });
const partial = (where: string): Extra => ({
  indices: [{ columns: ['room'], unique: true, where }],
});

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

const computed = (asExpression: string): Record<string, EntitySchemaColumnOptions> => ({
  sum: {
    ...{ type: 'integer', nullable: true, insert: false, update: false },
    ...{ generatedType: 'STORED', asExpression },
  },
});

describePostgresAndSqlite('What the database is to check of an encrypted column', (kind) => {
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
      checks: [{ expression: '"Age" > 0' }],
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
  ])('is made where it is %s', async (_what, entity) => {
    const dataSource = await open(entity);
    await dataSource.getRepository('Guest').insert({ id: 1, room: '1', nights: 2, yearsOld: 12 });
    expect(await dataSource.getRepository('Guest').countBy({ yearsOld: 12 })).toBe(1);
  });
});
