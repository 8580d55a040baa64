import type { DataSource, EntityMetadata, QueryRunner } from 'typeorm';

/** The table of an entity for SQL: escaped, with its schema where it has one. */
export function escapedTable({ driver }: DataSource, { tablePath }: EntityMetadata): string {
  return tablePath
    .split('.')
    .map((part) => driver.escape(part))
    .join('.');
}

/** SQL for milliseconds since 1970, by the clock of the database at this moment, not at the beginning of a transaction. */
export function databaseTimeSql({ options }: DataSource): string {
  return options.type === 'postgres'
    ? "CAST(date_part('epoch', clock_timestamp()) * 1000 AS bigint)"
    : "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";
}

/** PostgreSQL counts them in 16 bits. */
const POSTGRES_LIMIT = 65_535;
/** SQLite's, where the driver's SQLite was not built with another one. */
const SQLITE_LIMIT = 32_766;

/** How many parameters the database takes in one statement. */
export async function parameterLimit(dataSource: DataSource): Promise<number> {
  if (dataSource.options.type === 'postgres') return POSTGRES_LIMIT;
  const [built] = await dataSource.query<{ option: string }[]>(
    `SELECT compile_options AS option FROM pragma_compile_options WHERE compile_options LIKE 'MAX_VARIABLE_NUMBER=%'`,
  );
  return built === undefined ? SQLITE_LIMIT : Number(built.option.split('=')[1]);
}

/** Whether the database has a table. TypeORM's own method finds none of an attached SQLite file. */
export async function hasTable(runner: QueryRunner, tablePath: string): Promise<boolean> {
  if (runner.connection.options.type === 'postgres') return runner.hasTable(tablePath);
  return (await sqliteColumns(runner, tablePath)).length > 0;
}

/** Whether a table has a column. TypeORM's own method fails for a table of an attached SQLite file. */
export async function hasColumn(
  runner: QueryRunner,
  tablePath: string,
  column: string,
): Promise<boolean> {
  if (runner.connection.options.type === 'postgres') return runner.hasColumn(tablePath, column);
  return (await sqliteColumns(runner, tablePath)).some(({ name }) => name === column);
}

async function sqliteColumns(runner: QueryRunner, tablePath: string): Promise<{ name: string }[]> {
  const { sql, values } = sqliteColumnsSql(tablePath.split('.'));
  return (await runner.query(sql, [...values])) as { name: string }[];
}

/** The statement that lists the columns of a table in SQLite, by its name or that of the attached file and its name. */
export function sqliteColumnsSql(parts: readonly string[]): {
  readonly sql: string;
  readonly values: readonly string[];
} {
  const values = parts.slice(-2).reverse();
  const parameters = values.map(() => '?').join(', ');
  return { sql: `SELECT name, type FROM pragma_table_xinfo(${parameters})`, values };
}

/** The parameters of one hand-written statement, in the driver's own notation. */
export class SqlParameters {
  readonly values: unknown[];
  readonly #driver: DataSource['driver'];

  /** @param values - those of SQL in the driver's notation with which the statement begins. */
  constructor({ driver }: DataSource, values: readonly unknown[] = []) {
    this.#driver = driver;
    this.values = [...values];
  }

  /** Adds a value and gives what stands for it. Call it in the order of the statement. */
  add(value: unknown): string {
    this.values.push(value);
    return this.#driver.createParameter('p', this.values.length - 1);
  }

  /** {@link SqlParameters.add} for each value, with commas. */
  list(values: readonly unknown[]): string {
    return values.map((value) => this.add(value)).join(', ');
  }
}
