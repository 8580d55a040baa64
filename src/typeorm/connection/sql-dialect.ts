import type { DataSource, QueryRunner } from 'typeorm';

/** Returns a name in double quotes, for PostgreSQL and SQLite. */
export function quotedName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Returns SQL for milliseconds since 1970, by the clock of the database now, not at the beginning of the transaction. */
export function databaseTimeSql({ options }: DataSource): string {
  return options.type === 'postgres'
    ? "CAST(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000 AS bigint)"
    : "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";
}

/** PostgreSQL counts parameters in 16 bits. */
const POSTGRES_LIMIT = 65_535;
/** The default of SQLite. */
const SQLITE_LIMIT = 32_766;

/** Returns how many parameters the database accepts in one statement. */
export async function parameterLimit(dataSource: DataSource): Promise<number> {
  if (dataSource.options.type === 'postgres') return POSTGRES_LIMIT;
  const [built] = await dataSource.query<{ option: string }[]>(
    `SELECT compile_options AS option FROM pragma_compile_options WHERE compile_options LIKE 'MAX_VARIABLE_NUMBER=%'`,
  );
  return built === undefined ? SQLITE_LIMIT : Number(built.option.split('=')[1]);
}

/** Whether the database has a table. TypeORM's own method finds none in an attached SQLite file. */
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

/** Returns the statement that lists the columns of an SQLite table, by its name, after that of an attached file if any. */
export function sqliteColumnsSql(parts: readonly string[]): {
  readonly sql: string;
  readonly values: readonly string[];
} {
  const values = parts.slice(-2).reverse();
  const parameters = values.map(() => '?').join(', ');
  return { sql: `SELECT name, type FROM pragma_table_xinfo(${parameters})`, values };
}
