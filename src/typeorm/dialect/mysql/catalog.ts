import type { EntityMetadata, QueryRunner, Table } from 'typeorm';

import { ConfigurationError } from '../../../errors';
import type {
  DatabaseCatalog,
  DatabaseIndex,
  StatementLog,
  StoredColumn,
  TextColumn,
} from '../database-catalog';
import { rightRemedy } from '../right-remedy';

import { mysqlChecks } from './checks';
import { mayRead, placeOf, rights } from './privileges';
import { inSchema } from './table-name';
import { views } from './views';

export const mysqlCatalog: DatabaseCatalog = {
  versionSql: 'SELECT VERSION() AS version',
  textColumns,
  hasTable: (runner, tablePath) => runner.hasTable(tablePath),
  hasColumn: (runner, tablePath, column) => runner.hasColumn(tablePath, column),
  tableExists,
  liveTable,
  isTable: async (runner, metadata) => {
    const found = await fromSchema<{ type: string }>(
      runner,
      metadata.tablePath,
      'SELECT table_type AS type FROM information_schema.tables',
    );
    return found.every(({ type }) => type !== 'VIEW' && type !== 'SYSTEM VIEW');
  },
  views,
  columns: (runner, { tablePath }) => columns(runner, tablePath),
  indexes,
  usesIndex: async (runner, sql) => {
    const plan = (await runner.query(`EXPLAIN ${sql}`)) as {
      table: string | null;
      possible_keys: string | null;
    }[];
    // Of a small table, the optimizer may still prefer to read all rows.
    return plan.every(({ table, possible_keys: keys }) => table === null || keys !== null);
  },
  hasRoles: true,
  rights,
  mayRead,
  statementLog,
};

/** Selects from a view of `information_schema` what it has of a table. */
async function fromSchema<T>(
  runner: QueryRunner,
  tablePath: string,
  select: string,
  rest = '',
): Promise<T[]> {
  const { sql, values } = inSchema(tablePath);
  return (await runner.query(`${select} WHERE ${sql}${rest}`, values)) as T[];
}

async function tableExists(runner: QueryRunner, tablePath: string): Promise<boolean> {
  const place = await placeOf(runner, tablePath);
  if (place !== 'hidden') return place === 'seen';
  throw new ConfigurationError(
    `The database user has no permission to read (SELECT) table ${tablePath}, which may be there. ` +
      rightRemedy(`GRANT SELECT ON ${tablePath} TO it`),
  );
}

/** TypeORM reads no CHECK constraints there. */
async function liveTable(
  runner: QueryRunner,
  metadata: EntityMetadata,
): Promise<Table | undefined> {
  const live = await runner.getTable(metadata.tablePath);
  if (live !== undefined) live.checks = await mysqlChecks.of(runner, metadata);
  return live;
}

async function columns(runner: QueryRunner, tablePath: string): Promise<StoredColumn[]> {
  const found = await fromSchema<{
    name: string;
    type: string;
    length: number | string | null;
    collation: string | null;
  }>(
    runner,
    tablePath,
    'SELECT column_name AS name, data_type AS type, character_maximum_length AS length, ' +
      'collation_name AS collation FROM information_schema.columns',
  );
  return found.map(({ name, type, length, collation }) => ({
    name,
    type,
    length: length === null || type.startsWith('long') ? null : Number(length),
    exact: collation === null || collation.endsWith('_bin') || collation === 'binary',
  }));
}

async function textColumns(runner: QueryRunner): Promise<TextColumn[]> {
  const found = (await runner.query(
    'SELECT c.table_schema AS `schema`, c.table_name AS `table`, c.column_name AS `column`, ' +
      "c.privileges LIKE '%select%' AS readable FROM information_schema.columns c " +
      'JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name ' +
      "WHERE c.table_schema = DATABASE() AND t.table_type = 'BASE TABLE' " +
      "AND (c.data_type LIKE '%char' OR c.data_type LIKE '%text') ORDER BY 1, 2, c.ordinal_position",
  )) as (Omit<TextColumn, 'readable'> & { readonly readable: number | string })[];
  return found.map((column) => ({ ...column, readable: Number(column.readable) === 1 }));
}

async function indexes(
  runner: QueryRunner,
  { tablePath }: EntityMetadata,
  column: string,
): Promise<DatabaseIndex[]> {
  const parts = await fromSchema<{
    name: string;
    distinct_values: number | string;
    column: string | null;
    prefix: number | null;
  }>(
    runner,
    tablePath,
    'SELECT index_name AS name, non_unique AS distinct_values, column_name AS `column`, sub_part AS prefix ' +
      'FROM information_schema.statistics',
    ' ORDER BY index_name, seq_in_index',
  );
  return [...new Set(parts.map(({ name }) => name))]
    .map((index) => parts.filter(({ name }) => name === index))
    .filter(([first]) => first?.column === column)
    .map((of) => ({
      unique: of.every(({ distinct_values: others }) => Number(others) === 0),
      whole: of.every(({ prefix }) => prefix === null),
      columns: of.map((part) => part.column),
    }));
}

async function statementLog(runner: QueryRunner): Promise<StatementLog | undefined> {
  const [row] = (await runner.query(
    'SELECT @@global.general_log AS general, @@global.slow_query_log AS slow',
  )) as { general: number | string; slow: number | string }[];
  const [general, slow] = [Number(row?.general), Number(row?.slow)];
  if (general === 0 && slow === 0) return undefined;
  return {
    settings: `general_log = ${String(general)}, slow_query_log = ${String(slow)}`,
    remedy: 'Set both to 0, since the driver puts parameters into the text of a statement',
  };
}
