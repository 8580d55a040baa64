import type { QueryRunner } from 'typeorm';

import { encryptedTables } from '../../reencryption/encrypted-table';
import type { EncryptedTable } from '../../reencryption/encrypted-table';
import { hasColumn, hasTable } from '../../typeorm/connection/sql-dialect';
import { describeColumn } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn, IndexedColumn } from '../../typeorm/metadata/encrypted-column';
import { finding } from '../finding';
import type { DatabaseCheck, Finding } from '../finding';

/** An index of the database that begins with a column of tokens. */
interface DatabaseIndex {
  readonly unique: boolean;
  /** Whether it covers all rows and is valid. */
  readonly whole: boolean;
  /** `null` for an expression. */
  readonly columns: readonly (string | null)[];
}

/** Checks that each blind index has an index of the database, and that lookups use it. */
export const lookups: DatabaseCheck = async (installation, runner) => {
  const found: Finding[] = [];
  for (const table of encryptedTables(installation)) {
    if (!(await hasTable(runner, table.metadata.tablePath))) continue;
    for (const encrypted of table.columns) {
      for (const indexed of encrypted.indexes) {
        if (!(await hasColumn(runner, table.metadata.tablePath, indexed.column.databaseName)))
          continue;
        found.push(...(await lookup(runner, table, encrypted, indexed)));
      }
    }
  }
  return found;
};

async function lookup(
  runner: QueryRunner,
  table: EncryptedTable,
  encrypted: EncryptedColumn,
  indexed: IndexedColumn,
): Promise<Finding[]> {
  const name = indexed.column.databaseName;
  const indexes = await indexesOn(runner, table, name);
  if (indexed.policy.unique && !indexes.some(keepsUnique(indexed))) {
    const others = indexed.uniqueWith.map(({ databaseName }) => databaseName);
    const tuple = others.length === 0 ? '' : ` together with ${others.join(', ')}`;
    return [
      finding(
        'INDEX_NOT_UNIQUE',
        `${describeColumn(encrypted)}: nothing in the database keeps the tokens in ${name} unique${tuple}.`,
        'Write the index with migration:generate and run it; it fails where there are duplicates already.',
      ),
    ];
  }
  if (indexes.length === 0) {
    return [
      finding(
        'INDEX_MISSING',
        `${describeColumn(encrypted)}: no index of the database begins with ${name}, so each lookup reads the whole table.`,
        'Write the index with migration:generate and run it.',
      ),
    ];
  }
  if (await isUsed(runner, table, name)) return [];
  return [
    finding(
      'INDEX_NOT_USED',
      `${describeColumn(encrypted)}: the database does not use the index on ${name} for a lookup.`,
      'Look at EXPLAIN: the index may be invalid (a CREATE INDEX CONCURRENTLY that failed), partial, of another type or collation, or missing in a partition.',
    ),
  ];
}

/** Whether an index has exactly the columns: with more it would admit duplicates, with fewer refuse too much. */
function keepsUnique({ column, uniqueWith }: IndexedColumn): (index: DatabaseIndex) => boolean {
  const wanted = new Set([column, ...uniqueWith].map(({ databaseName }) => databaseName));
  return ({ unique, whole, columns }) =>
    unique &&
    whole &&
    columns.length === wanted.size &&
    columns.every((name) => name !== null && wanted.has(name));
}

function indexesOn(
  runner: QueryRunner,
  table: EncryptedTable,
  column: string,
): Promise<DatabaseIndex[]> {
  return isPostgres(runner)
    ? postgresIndexes(runner, table, column)
    : sqliteIndexes(runner, table, column);
}

async function postgresIndexes(
  runner: QueryRunner,
  { name }: EncryptedTable,
  column: string,
): Promise<DatabaseIndex[]> {
  return (await runner.query(
    `SELECT i.indisunique AS "unique",
            i.indisvalid AND i.indpred IS NULL AS whole,
            ARRAY(SELECT k.attname::text
                    FROM generate_series(0, i.indnkeyatts - 1) AS n
                    LEFT JOIN pg_attribute k ON k.attrelid = i.indrelid AND k.attnum = i.indkey[n]
                   ORDER BY n) AS columns
       FROM pg_index i
       JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
      WHERE i.indrelid = to_regclass($1) AND a.attname = $2`,
    [name, column],
  )) as DatabaseIndex[];
}

async function sqliteIndexes(
  runner: QueryRunner,
  { metadata: { tableName } }: EncryptedTable,
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
  return rows.map(({ is_unique, is_partial, columns }) => ({
    unique: is_unique === 1,
    whole: is_partial === 0,
    columns: JSON.parse(columns) as (string | null)[],
  }));
}

async function isUsed(
  runner: QueryRunner,
  table: EncryptedTable,
  column: string,
): Promise<boolean> {
  const name = runner.connection.driver.escape(column);
  const sql = `SELECT 1 FROM ${table.name} WHERE ${name} = 'x'`;
  if (isPostgres(runner)) return usesIndex(await postgresPlan(runner, sql), column);
  const rows = (await runner.query(`EXPLAIN QUERY PLAN ${sql}`)) as { detail: string }[];
  return rows.every(({ detail }) => detail.startsWith('SEARCH'));
}

/** Explains the statement without sequential scans, which PostgreSQL prefers for small tables. */
async function postgresPlan(runner: QueryRunner, sql: string): Promise<unknown> {
  await runner.query('BEGIN READ ONLY');
  try {
    await runner.query('SET LOCAL enable_seqscan = off');
    const [row] = (await runner.query(`EXPLAIN (FORMAT JSON) ${sql}`)) as Record<string, unknown>[];
    return row?.['QUERY PLAN'];
  } finally {
    await runner.query('ROLLBACK');
  }
}

/** Whether a plan uses only indexes on the column. */
function usesIndex(plan: unknown, column: string): boolean {
  const text = JSON.stringify(plan);
  return text.includes('"Index Cond"') && text.includes(column) && !text.includes('"Seq Scan"');
}

function isPostgres(runner: QueryRunner): boolean {
  return runner.connection.options.type === 'postgres';
}
