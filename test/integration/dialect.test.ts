import { DataSource, Table } from 'typeorm';
import type { EntityMetadata, QueryRunner } from 'typeorm';

import { SqlParameters } from '../../src/typeorm/connection/sql-parameters';
import { databaseFailure } from '../../src/typeorm/connection/transient-conflict';
import type { Dialect } from '../../src/typeorm/dialect/dialect';
import { dialectOf } from '../../src/typeorm/dialect/dialect-of';
import type { CiphertextForm } from '../../src/typeorm/dialect/sql-forms';
import { DataKeySchema } from '../../src/typeorm/tables/data-key-table';
import { describeEachDatabase } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { rejection } from '../support/protected-database';
import { qualified, quoted } from '../support/sql-of';

/** The form of a ciphertext, and one that is as short as may be. */
const BYTES = Buffer.from(`01${'fb'.repeat(37)}`, 'hex');
const FORMS = {
  binary: { storage: 'binary', formats: ['01'], second: '[Q-Za-f]', shortest: 38 },
  text: { storage: 'text', formats: ['01'], second: '[Q-Za-f]', shortest: 51 },
} as const satisfies Record<string, CiphertextForm>;

const PAST = Date.UTC(2000, 0, 1);
const FUTURE = Date.UTC(9999, 0, 1);

describeEachDatabase('The dialect of a database', (kind) => {
  let database: TestDatabase;
  let dataSource: DataSource;
  let dialect: Dialect;
  let runner: QueryRunner;

  beforeAll(async () => {
    database = await kind.create();
    const { dataSourceOptions } = database;
    // Locks of blind indexes may be of rows of the key table.
    dataSource = await new DataSource({
      ...dataSourceOptions,
      entities: [DataKeySchema],
      synchronize: true,
    }).initialize();
    dialect = dialectOf(dataSource);
    runner = dataSource.createQueryRunner();
    const { columnType, exactText } = dialect.values;
    const column = (name: string, type: unknown): { name: string; type: string } => ({
      ...{ name, type: String(type), isNullable: true },
      ...(String(type).includes('blob') ? {} : exactText),
    });
    await runner.createTable(
      new Table({
        name: 'thing',
        columns: [
          { name: 'id', type: 'integer', isPrimary: true },
          { ...column('name', columnType('text', 40)), length: '40' },
          column('cipher', columnType('text', undefined)),
          column('bytes', columnType('binary', undefined)),
        ],
        indices: [{ name: 'thing_name', columnNames: ['name', 'id'], isUnique: true }],
      }),
    );
    await insert(1, 'a', BYTES.toString('base64url'), BYTES);
    await insert(2, 'b', 'cleartext', Buffer.from('cleartext'));
    await insert(3, null, null, null);
  });
  afterAll(async () => {
    await runner.release();
    await dataSource.destroy();
    await database.dispose();
  });

  async function insert(...values: readonly unknown[]): Promise<void> {
    const parameters = new SqlParameters(dataSource);
    await runner.query(`INSERT INTO thing VALUES (${parameters.list(values)})`, parameters.values);
  }

  /** The values of an expression in the rows of the table, in their order. */
  async function inRows(expression: string, rest = ''): Promise<unknown[]> {
    const rows = (await runner.query(
      `SELECT ${expression} AS value FROM thing ${rest} ORDER BY id`,
    )) as { value: unknown }[];
    // SQLite has numbers for booleans.
    return rows.map(({ value }) => (typeof value === 'number' ? value === 1 : value));
  }

  async function value(expression: string): Promise<unknown> {
    const [row] = (await runner.query(`SELECT ${expression} AS value`)) as { value: unknown }[];
    return row?.value;
  }

  const thing = (name = 'thing'): EntityMetadata =>
    ({ name: 'Thing', tablePath: name, tableName: name }) as EntityMetadata;

  it('is that of its driver', () => {
    expect(dialect.name).toBe(kind.dialect);
  });

  describe('in SQL', () => {
    it('tells the time of the database, which goes on within a transaction', async () => {
      await runner.startTransaction();
      const before = Number(await value(dialect.sql.now));
      let after = before;
      while (after === before) after = Number(await value(dialect.sql.now));
      await runner.rollbackTransaction();
      expect(after).toBeGreaterThan(before);
      expect(before).toBeGreaterThan(PAST);
      expect(before).toBeLessThan(FUTURE);
    });

    it('joins, casts and compares', async () => {
      const { sql } = dialect;
      expect(await value(sql.concat(["'a'", sql.cast('7', 'text'), "'b'"]))).toBe('a7b');
      expect(Number(await value(sql.cast("'42'", 'integer')))).toBe(42);
      expect(
        await inRows('name', `WHERE (id, name) IN ${sql.tuples(["(1, 'a')", "(2, 'x')"])}`),
      ).toEqual(['a']);
      expect(await inRows('name', `WHERE name IN (${sql.jsonTexts(`'["b", "c"]'`)})`)).toEqual([
        'b',
      ]);
      expect(await inRows(sql.hex('bytes'), 'WHERE id = 1')).toEqual([BYTES.toString('hex')]);
      expect(
        await inRows('name', `WHERE ${sql.isHex("'09af'")} AND NOT ${sql.isHex('name')}`),
      ).toEqual([]);
      expect(await inRows('name', `WHERE name = 'b' AND NOT ${sql.isHex("'0g'")}`)).toEqual(['b']);
    });

    it.each(['text', 'binary'] as const)('knows a ciphertext as %s', async (storage) => {
      const cell = storage === 'text' ? 'cipher' : 'bytes';
      const { sql } = dialect;
      const first = BYTES.subarray(0, 9);
      expect((await inRows(sql.prefix(cell, storage)))[0]).toBe(
        sql.hasHexPrefix(storage)
          ? first.toString('hex').toUpperCase()
          : first.toString('base64url'),
      );
      expect(await inRows('name', `WHERE ${sql.length(cell, storage)} = 9`)).toEqual(['b']);
      for (const condition of [
        sql.isCiphertext(cell, FORMS[storage]),
        sql.checksCiphertext(cell, FORMS[storage]),
      ]) {
        expect(await inRows(condition)).toEqual([true, false, null]);
      }
    });

    it('has a value until its time has come, and then an error of its own', async () => {
      const { sql } = dialect;
      const fenced = (time: number, whileTrue = ''): string =>
        sql.until(time, { sql: "'kept'", type: 'text' }, whileTrue);
      expect(await value(fenced(FUTURE))).toBe('kept');
      expect(await value(fenced(FUTURE, ' AND 1 = 1'))).toBe('kept');
      for (const late of [fenced(PAST), fenced(FUTURE, ' AND 1 = 0')]) {
        expect(sql.isTooLate((await rejection(value(late))).message, late)).toBe(true);
      }
      const other = 'SELECT * FROM nowhere';
      expect(sql.isTooLate((await rejection(runner.query(other))).message, other)).toBe(false);
    });

    it('fails with a mark where it is evaluated, and only there', async () => {
      const failing = (condition: string): string =>
        `CASE WHEN ${condition} THEN 'kept' ELSE ${dialect.sql.fail('a <mark>', 'text')} END`;
      expect(await value(failing('1 = 1'))).toBe('kept');
      expect((await rejection(inRows(failing('id < 2')))).message).toContain('a <mark>');
    });

    it('finds the placeholders that the driver finds', () => {
      const parameters = new SqlParameters(dataSource);
      const name = quoted(kind, '?$2');
      const sql = `SELECT '?$2', ${parameters.add('x')}, ${parameters.add('y')} AS ${name}`;
      const found = dialect.sql.placeholderAt(sql, 1);
      if (kind.dialect === 'mysql') {
        // Versions of its driver differ in whether those in quotes count.
        expect(found).toBeUndefined();
        expect(dialect.sql.placeholderAt(`SELECT ?, ? AS ${name}`, 1)?.index).toBe(10);
        return;
      }
      expect(sql.slice(found?.index)).toBe(`${String(found?.text)} AS ${name}`);
      expect(dialect.sql.placeholderAt(sql, 2)).toBeUndefined();
    });

    it('locks rows', async () => {
      await runner.startTransaction();
      expect(
        await runner.query(`SELECT id FROM thing WHERE id = 1${dialect.sql.lockRows}`),
      ).toEqual([{ id: 1 }]);
      await runner.rollbackTransaction();
    });
  });

  it.each([
    ['notUnique', "INSERT INTO thing VALUES (1, 'a', NULL, NULL)"],
    ['missing', 'SELECT * FROM nowhere'],
    ['missing', 'SELECT nowhere FROM thing'],
    [undefined, 'SELECT FROM WHERE'],
  ])('knows the error of a statement as %s: %s', async (failure, sql) => {
    expect(databaseFailure(await rejection(runner.query(sql)))).toBe(failure);
  });

  it('tells of tables, columns, indexes and rights', async () => {
    const { catalog } = dialect;
    await runner.query('CREATE VIEW seen AS SELECT id FROM thing');
    expect(await catalog.hasTable(runner, 'thing')).toBe(true);
    expect(await catalog.tableExists(runner, 'nowhere')).toBe(false);
    expect(await catalog.hasColumn(runner, 'thing', 'cipher')).toBe(true);
    expect(await catalog.hasColumn(runner, 'thing', 'nowhere')).toBe(false);
    expect(await catalog.isTable(runner, thing())).toBe(true);
    expect(await catalog.isTable(runner, thing('nowhere'))).toBe(true);
    expect(await catalog.isTable(runner, thing('seen'))).toBe(false);
    expect(
      (await catalog.columns(runner, thing()))
        .map(({ name, exact }) => `${name} ${String(exact)}`)
        .sort(),
    ).toEqual(['bytes true', 'cipher true', 'id true', 'name true']);
    expect(await catalog.columns(runner, thing('nowhere'))).toEqual([]);
    expect(await catalog.indexes(runner, thing(), 'name')).toEqual([
      { unique: true, whole: true, columns: ['name', 'id'] },
    ]);
    const lookup = (name: string): string => `SELECT 1 FROM thing WHERE ${name} = 'x'`;
    expect(await catalog.usesIndex(runner, lookup('name'))).toBe(true);
    expect(await catalog.usesIndex(runner, lookup('cipher'))).toBe(false);
    expect((await catalog.rights(runner, thing()))?.has('SELECT')).toBe(true);
    expect(await catalog.rights(runner, thing('nowhere'))).toBeUndefined();
    expect(await catalog.mayRead(runner, thing(), ['id', 'name'])).toBe(true);
  });

  it('tells how values are stored and sorted', async () => {
    const { values } = dialect;
    const sorted = (await runner.query('SELECT id FROM thing ORDER BY cipher')) as { id: number }[];
    expect(sorted[values.nullIsGreatest ? 2 : 0]?.id).toBe(3);
    const [{ big }] = (await runner.query(
      `SELECT ${dialect.sql.cast('9007199254740993', 'text')} AS text, 9007199254740993 AS big`,
    )) as [{ big: unknown }];
    expect(String(big) === '9007199254740993').toBe(values.hasExactIntegers);
    const nul = insert(4, 'nul', 'a\0b', null);
    expect(
      await nul.then(
        () => true,
        () => false,
      ),
    ).toBe(values.allowsNul);
    await runner.query('DELETE FROM thing WHERE id = 4');
    expect(await values.maxParameters(dataSource)).toBeGreaterThan(10_000);
  });

  it('tells names of one table and column from those of others', () => {
    const { names } = dialect;
    const place = names.tablePlace(dataSource, 'thing', undefined);
    const [schema] = qualified(dataSource, 'thing').split('.');
    expect(names.tablePlace(dataSource, 'thing', schema)).toBe(place);
    expect(names.tablePlace(dataSource, 'other', undefined)).not.toBe(place);
    expect(names.columnPlace('name')).not.toBe(names.columnPlace('cipher'));
  });

  it('takes locks in transactions, and knows these', async () => {
    const { transactions } = dialect;
    const column = { databaseName: 'name', entityMetadata: thing() } as never;
    expect(await transactions.isActive(runner)).toBe(false);
    await runner.startTransaction();
    expect(await transactions.isActive(runner)).toBe(true);
    expect(await transactions.snapshotAge(runner, undefined)).toBeGreaterThanOrEqual(0);
    const isDone = await transactions.withLimitedLockWaits(runner, async () => {
      await transactions.lockTokens(runner, column, () => new Set(['b', 'a']));
      await transactions.lockIndex(runner, column);
      return true;
    });
    expect(isDone).toBe(true);
    await runner.rollbackTransaction();
    expect(await transactions.isActive(runner)).toBe(false);
  });

  const itWithSeveral = kind.dialect === 'sqlite' ? it.skip : it;
  itWithSeveral('ends a transaction that stands still, if it is to', async () => {
    const { transactions } = dialect;
    const idle = dataSource.createQueryRunner();
    await idle.startTransaction();
    await idle.query(`INSERT INTO thing VALUES (8, 'idle', NULL, NULL)`);
    await transactions.limitIdleTime(idle, 1000);
    // Waits for the end of the other one.
    await insert(8, 'idle', null, null);
    await rejection(() => idle.commitTransaction());
    await idle.release();
    await runner.query('DELETE FROM thing WHERE id = 8');
  });

  itWithSeveral('leaves no such limit to the next user of the connection', async () => {
    const { transactions } = dialect;
    await runner.startTransaction();
    await transactions.limitIdleTime(runner, 60_000);
    await runner.commitTransaction();
    await transactions.liftIdleLimit?.(runner);
    const setting =
      kind.dialect === 'mysql'
        ? `VARIABLES LIKE 'wait_timeout'`
        : 'idle_in_transaction_session_timeout';
    const rows: unknown = await runner.query(`SHOW ${setting}`);
    expect(JSON.stringify(rows)).toMatch(/"(?:0|28800)"/);
  });
});
