import type { DataSource, QueryRunner } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { dialectOf } from './dialect';
import type { EncryptedTable } from './encrypted-table';

/** A row as stored: primary key and encrypted columns, in the order of the table's metadata. */
export interface StoredRow {
  readonly primaryKey: readonly unknown[];
  readonly stored: readonly unknown[];
}

/** A row to be written, if it still holds what was read. */
export interface RowChange {
  readonly primaryKey: readonly unknown[];
  readonly from: readonly unknown[];
  readonly to: readonly unknown[];
}

/**
 * Reads the rows that follow `after` in primary-key order, as stored. Raw SQL, so that no hook runs
 * and nothing is decrypted.
 */
export async function readPage(
  runner: QueryRunner,
  table: EncryptedTable,
  after: readonly unknown[] | undefined,
  limit: number,
): Promise<StoredRow[]> {
  const { driver } = runner.connection;
  const keys = table.metadata.primaryColumns;
  const columns = table.columns.map(({ column }) => column);
  const selected = [...keys, ...columns].map(
    ({ databaseName }, i) => `${driver.escape(databaseName)} AS ${driver.escape(`c${String(i)}`)}`,
  );
  const keyList = keys.map(({ databaseName }) => driver.escape(databaseName)).join(', ');
  const parameters = new Parameters(runner.connection);
  const condition =
    after === undefined
      ? ''
      : ` WHERE (${keyList}) > (${after.map((value) => parameters.add(value)).join(', ')})`;
  const rows = await parameters.query<Record<string, unknown>[]>(
    runner,
    `SELECT ${selected.join(', ')} FROM ${table.name}${condition} ORDER BY ${keyList} LIMIT ${String(limit)}`,
  );
  return rows.map((row) => {
    const cells = selected.map((_, i) => row[`c${String(i)}`]);
    return { primaryKey: cells.slice(0, keys.length), stored: cells.slice(keys.length) };
  });
}

/**
 * Writes a page in one statement, each row only if all its encrypted columns still hold what was
 * read (compare-and-swap). No version or update-date column moves.
 *
 * @returns how many rows were written.
 */
export async function writePage(
  runner: QueryRunner,
  table: EncryptedTable,
  changes: readonly RowChange[],
): Promise<number> {
  const { driver } = runner.connection;
  const dialect = dialectOf(runner.connection);
  const parameters = new Parameters(runner.connection);
  const keys = table.metadata.primaryColumns;
  const columns = table.columns.map(({ column }) => column);
  const typed = (value: unknown, column: ColumnMetadata | undefined): string =>
    column === undefined ? 'NULL' : dialect.typed(parameters.add(value), column);

  const values = changes.map(({ primaryKey, from, to }) =>
    [
      ...primaryKey.map((value, i) => typed(value, keys[i])),
      ...from.map((value, i) => typed(value, columns[i])),
      ...to.map((value, i) => typed(value, columns[i])),
    ].join(', '),
  );
  // Columns of VALUES are column1, column2, … in PostgreSQL and SQLite alike.
  const page = (at: number): string => `page.column${String(at + 1)}`;
  const oldAt = keys.length;
  const newAt = oldAt + columns.length;
  const cell = ({ databaseName }: ColumnMetadata): string =>
    `${table.name}.${driver.escape(databaseName)}`;
  const assignments = columns.map(
    ({ databaseName }, i) => `${driver.escape(databaseName)} = ${page(newAt + i)}`,
  );
  const conditions = [
    ...keys.map((key, i) => `${cell(key)} = ${page(i)}`),
    ...columns.map((column, i) => dialect.same(cell(column), page(oldAt + i))),
  ];
  const result = await parameters.query<{ affected?: number }>(
    runner,
    `UPDATE ${table.name} SET ${assignments.join(', ')} ` +
      `FROM (VALUES (${values.join('), (')})) AS page WHERE ${conditions.join(' AND ')}`,
    true,
  );
  return result.affected ?? 0;
}

/** Named parameters, turned into the driver's own at the end. */
class Parameters {
  readonly #dataSource: DataSource;
  readonly #values: Record<string, unknown> = {};
  #count = 0;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
  }

  add(value: unknown): string {
    const name = `p${String(this.#count++)}`;
    this.#values[name] = value;
    return `:${name}`;
  }

  async query<T>(runner: QueryRunner, sql: string, structured = false): Promise<T> {
    const [statement, values] = escape(this.#dataSource.driver, sql, this.#values);
    return (await runner.query(statement, values, structured as true)) as T;
  }
}

/** TypeORM 0.3 wants a third argument, the values of parameters that are the driver's own already. */
function escape(
  driver: DataSource['driver'],
  sql: string,
  values: Record<string, unknown>,
): [string, unknown[]] {
  const escaper = driver as {
    escapeQueryWithParameters(sql: string, values: object, native: object): [string, unknown[]];
  };
  return escaper.escapeQueryWithParameters(sql, values, {});
}
