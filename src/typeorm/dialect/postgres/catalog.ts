import type { QueryRunner } from 'typeorm';

import type {
  DatabaseCatalog,
  DatabaseIndex,
  DatabaseView,
  StatementLog,
  StoredColumn,
  TextColumn,
} from '../database-catalog';
import { escapedTable } from '../escaped-table';

import { usesIndex } from './lookup-plan';
import { mayRead, rights, tableExists } from './privileges';

export const postgresCatalog: DatabaseCatalog = {
  versionSql: "SELECT current_setting('server_version') AS version",
  textColumns: async (runner) => (await runner.query(TEXT_COLUMNS_SQL)) as TextColumn[],
  hasTable: (runner, tablePath) => runner.hasTable(tablePath),
  hasColumn: (runner, tablePath, column) => runner.hasColumn(tablePath, column),
  tableExists,
  liveTable: (runner, { tablePath }) => runner.getTable(tablePath),
  isTable: async (runner, metadata) => {
    const found = (await runner.query('SELECT relkind FROM pg_class WHERE oid = to_regclass($1)', [
      escapedTable(runner.connection, metadata),
    ])) as { relkind: string }[];
    return found.every(({ relkind }) => relkind === 'r' || relkind === 'p');
  },
  views: async (dataSource, tables) => {
    const views = await dataSource.query<(Omit<DatabaseView, 'path'> & { schema: string })[]>(
      VIEWS_SQL,
      [tables.map((metadata) => escapedTable(dataSource, metadata))],
    );
    return views.map(({ schema, name, definition }) => ({
      name,
      path: `"${schema}"."${name}"`,
      definition,
    }));
  },
  columns: async (runner, metadata) =>
    (await runner.query(COLUMNS_SQL, [
      escapedTable(runner.connection, metadata),
    ])) as StoredColumn[],
  indexes: async (runner, metadata, column) =>
    (await runner.query(INDEXES_SQL, [
      escapedTable(runner.connection, metadata),
      column,
    ])) as DatabaseIndex[],
  usesIndex,
  hasRoles: true,
  rights,
  mayRead,
  statementLog,
};

const VIEWS_SQL = `WITH RECURSIVE base (oid) AS (
         SELECT to_regclass(name)::oid FROM unnest($1::text[]) AS name
       UNION
         SELECT r.ev_class FROM base
           JOIN pg_depend d ON d.refobjid = base.oid
            AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass
           JOIN pg_rewrite r ON r.oid = d.objid)
     SELECT n.nspname AS schema, v.relname AS name, pg_get_viewdef(v.oid) AS definition
       FROM base
       JOIN pg_class v ON v.oid = base.oid AND v.relkind IN ('v', 'm')
       JOIN pg_namespace n ON n.oid = v.relnamespace`;

const COLUMNS_SQL = `SELECT a.attname AS name, t.typname AS type,
            CASE WHEN t.typname = 'varchar' AND a.atttypmod > 4 THEN a.atttypmod - 4 END AS length,
            COALESCE(c.collisdeterministic, TRUE) AS exact
       FROM pg_attribute a
       JOIN pg_type t ON t.oid = a.atttypid
       LEFT JOIN pg_collation c ON c.oid = a.attcollation
      WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`;

/** Partitions are read through their table. */
const TEXT_COLUMNS_SQL = `SELECT n.nspname AS schema, c.relname AS "table", a.attname AS "column",
            has_schema_privilege(n.oid, 'USAGE')
              AND has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable
       FROM pg_class c
       JOIN pg_namespace n ON n.oid = c.relnamespace
       JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
       JOIN pg_type t ON t.oid = a.atttypid AND t.typcategory = 'S'
      WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        AND n.nspname NOT LIKE 'pg\\_t%'
      ORDER BY 1, 2, a.attnum`;

const INDEXES_SQL = `SELECT i.indisunique AS "unique",
            i.indisvalid AND i.indpred IS NULL AS whole,
            ARRAY(SELECT k.attname::text
                    FROM generate_series(0, i.indnkeyatts - 1) AS n
                    LEFT JOIN pg_attribute k ON k.attrelid = i.indrelid AND k.attnum = i.indkey[n]
                   ORDER BY n) AS columns
       FROM pg_index i
       JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
      WHERE i.indrelid = to_regclass($1) AND a.attname = $2`;

async function statementLog(runner: QueryRunner): Promise<StatementLog | undefined> {
  const [setting] = (await runner.query(
    `SELECT current_setting('log_statement') AS statements,
            current_setting('log_min_duration_statement') AS slow,
            current_setting('log_parameter_max_length', true) AS parameters`,
  )) as { statements: string; slow: string; parameters: string | null }[];
  if (setting === undefined || setting.parameters === '0') return undefined;
  const { statements, slow } = setting;
  if (statements !== 'all' && statements !== 'mod' && slow === '-1') return undefined;
  return {
    settings: `log_statement = ${statements}, log_min_duration_statement = ${slow}`,
    remedy: 'Set log_parameter_max_length = 0',
  };
}
