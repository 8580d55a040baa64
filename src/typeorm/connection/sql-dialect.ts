import type { QueryRunner } from 'typeorm';

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
