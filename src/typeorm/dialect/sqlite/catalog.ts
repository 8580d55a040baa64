import type { EntityMetadata, QueryRunner, Table } from 'typeorm';

import { ConfigurationError } from '../../../errors';
import { RIGHTS } from '../database-catalog';
import type { DatabaseCatalog, DatabaseIndex, StoredColumn, TextColumn } from '../database-catalog';
import { escapedTable } from '../escaped-table';

export const sqliteCatalog: DatabaseCatalog = {
  versionSql: 'SELECT sqlite_version() AS version',
  textColumns,
  hasTable,
  hasColumn: async (runner, tablePath, column) =>
    (await columnsOf(runner, tablePath.split('.'))).some(({ name }) => name === column),
  tableExists: hasTable,
  liveTable,
  isTable,
  // None can be written without a trigger.
  views: () => Promise.resolve([]),
  columns,
  indexes,
  usesIndex: async (runner, sql) => {
    const rows = (await runner.query(`EXPLAIN QUERY PLAN ${sql}`)) as { detail: string }[];
    return rows.every(({ detail }) => detail.startsWith('SEARCH'));
  },
  hasRoles: false,
  rights: async (runner, { tablePath }) =>
    (await runner.hasTable(tablePath)) ? new Set(RIGHTS) : undefined,
  mayRead: () => Promise.resolve(true),
};

/** TypeORM's own method finds no table in an attached file. */
async function hasTable(runner: QueryRunner, tablePath: string): Promise<boolean> {
  return (await columnsOf(runner, tablePath.split('.'))).length > 0;
}

async function columnsOf(
  runner: QueryRunner,
  parts: readonly string[],
): Promise<{ name: string }[]> {
  const { sql, values } = columnsSql(parts);
  return (await runner.query(sql, [...values])) as { name: string }[];
}

/** Returns the statement that lists the columns of a table, by its name, after that of an attached file if any. */
export function columnsSql(parts: readonly string[]): {
  readonly sql: string;
  readonly values: readonly string[];
} {
  const values = parts.slice(-2).reverse();
  const parameters = values.map(() => '?').join(', ');
  return { sql: `SELECT name, type FROM pragma_table_xinfo(${parameters})`, values };
}

/** TypeORM 0.3 with better-sqlite3 takes a table of an attached file for one of the main file, and would move it there. */
async function liveTable(
  runner: QueryRunner,
  { name, tablePath }: EntityMetadata,
): Promise<Table | undefined> {
  const live = await runner.getTable(tablePath);
  if (live === undefined || live.name === tablePath) return live;
  throw new ConfigurationError(
    `${name}: this version of TypeORM takes its table, which is of an attached file, for one of the main file. ` +
      'Generate the migration with TypeORM 1, or write it by hand.',
    { entity: name },
  );
}

/** Lists all columns: each holds text, whatever its type. */
async function textColumns(runner: QueryRunner): Promise<TextColumn[]> {
  const found = (await runner.query(
    `SELECT l.schema AS "schema", l.name AS "table", c.name AS "column"
       FROM pragma_table_list AS l, pragma_table_xinfo(l.name, l.schema) AS c
      WHERE l.type = 'table' AND l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
      ORDER BY 1, 2, c.cid`,
  )) as Omit<TextColumn, 'readable'>[];
  return found.map((column) => ({ ...column, readable: true }));
}

async function isTable(runner: QueryRunner, { tablePath }: EntityMetadata): Promise<boolean> {
  const parts = tablePath.split('.');
  const catalog = [...parts.slice(0, -1), 'sqlite_master'].map((part) =>
    runner.connection.driver.escape(part),
  );
  const found = (await runner.query(
    `SELECT type FROM ${catalog.join('.')} WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')`,
    [parts.at(-1)],
  )) as { type: string }[];
  return found.every(({ type }) => type === 'table');
}

/** SQLite enforces neither types nor lengths; a comparison shows the collation. */
async function columns(runner: QueryRunner, metadata: EntityMetadata): Promise<StoredColumn[]> {
  if (!(await runner.hasTable(metadata.tablePath))) return [];
  const found: StoredColumn[] = [];
  for (const { name } of await columnsOf(runner, [metadata.tableName])) {
    const exact = await comparesExactly(runner, metadata, name);
    found.push({ name, type: null, length: null, exact });
  }
  return found;
}

async function comparesExactly(
  runner: QueryRunner,
  metadata: EntityMetadata,
  column: string,
): Promise<boolean> {
  const { connection } = runner;
  const [row] = (await runner.query(
    `SELECT x = 'A' OR x = 'a ' AS same
       FROM (SELECT ${connection.driver.escape(column)} AS x FROM ${escapedTable(connection, metadata)}
              WHERE 0 UNION ALL SELECT 'a')`,
  )) as { same: number }[];
  return row?.same !== 1;
}

async function indexes(
  runner: QueryRunner,
  { tableName }: EntityMetadata,
  column: string,
): Promise<DatabaseIndex[]> {
  const rows = (await runner.query(
    `SELECT l."unique" AS is_unique, l.partial AS is_partial,
            (SELECT json_group_array(c.name) FROM pragma_index_info(l.name) AS c) AS columns
       FROM pragma_index_list(?) AS l
       JOIN pragma_index_info(l.name) AS i ON i.seqno = 0
      WHERE i.name = ?`,
    [tableName, column],
  )) as { is_unique: number; is_partial: number; columns: string }[];
  return rows.map((row) => ({
    unique: row.is_unique === 1,
    whole: row.is_partial === 0,
    columns: JSON.parse(row.columns) as (string | null)[],
  }));
}
