import type { QueryRunner } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { maxPlainBytes, storedLength } from '../../format/field-ciphertext';
import { encryptedTables } from '../../reencryption/encrypted-table';
import type { EncryptedTable } from '../../reencryption/encrypted-table';
import { describeColumn } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn, IndexedColumn } from '../../typeorm/metadata/encrypted-column';
import { finding } from '../finding';
import type { DatabaseCheck, Finding } from '../finding';

/** A column as it is in the database. */
interface StoredColumn {
  readonly name: string;
  readonly type: string;
  /** The most characters that it holds; `null` for no limit. */
  readonly length: number | null;
  /** Whether values are equal only if their bytes are. */
  readonly exact: boolean;
}

const TEXT_TYPES = ['text', 'varchar'];

/** Checks that columns can hold what is written to them, and tell any two values apart. */
export const columns: DatabaseCheck = async (installation, runner) => {
  const { suite } = installation.options;
  const found: Finding[] = [];
  for (const table of encryptedTables(installation)) {
    const stored = await storedColumns(runner, table);
    if (stored === undefined) {
      found.push(tableMissing(table));
      continue;
    }
    if (!(await mayRead(runner, table))) found.push(tableUnreadable(table));
    for (const encrypted of table.columns) {
      found.push(...ciphertextColumn(encrypted, stored, suite));
      for (const indexed of encrypted.indexes)
        found.push(...tokenColumn(encrypted, indexed, stored));
    }
  }
  return found;
};

type Suite = Parameters<typeof storedLength>[1];

function ciphertextColumn(
  encrypted: EncryptedColumn,
  stored: ReadonlyMap<string, StoredColumn>,
  suite: Suite,
): Finding[] {
  const { column, policy } = encrypted;
  const found = stored.get(column.databaseName);
  if (found === undefined) return [columnMissing(encrypted, column, ADD_COLUMN)];
  const wanted = policy.storage === 'text' ? TEXT_TYPES : ['bytea', 'blob'];
  if (!wanted.includes(found.type)) return [wrongType(encrypted, found, wanted)];
  const { length } = found;
  const needed = policy.columnLength ?? storedLength(1, suite, 'text');
  const narrow =
    length === null || length >= (policy.columnLength ?? Infinity)
      ? []
      : length < needed
        ? [tooShort(encrypted, found, needed)]
        : [tooNarrow(encrypted, found, maxPlainBytes(length, suite, 'text'))];
  return [...narrow, ...(found.exact ? [] : [inexact(encrypted, found)])];
}

function tokenColumn(
  encrypted: EncryptedColumn,
  { column }: IndexedColumn,
  stored: ReadonlyMap<string, StoredColumn>,
): Finding[] {
  const found = stored.get(column.databaseName);
  if (found === undefined) return [columnMissing(encrypted, column, ADD_INDEX)];
  if (!TEXT_TYPES.includes(found.type)) return [wrongType(encrypted, found, TEXT_TYPES)];
  const needed = Number(column.length);
  return [
    ...(found.length !== null && found.length < needed ? [tooShort(encrypted, found, needed)] : []),
    ...(found.exact ? [] : [inexact(encrypted, found)]),
  ];
}

/** Reads the columns of a table; `undefined` if it does not exist. */
async function storedColumns(
  runner: QueryRunner,
  table: EncryptedTable,
): Promise<ReadonlyMap<string, StoredColumn> | undefined> {
  const found =
    runner.connection.options.type === 'postgres'
      ? await postgresColumns(runner, table)
      : await sqliteColumns(runner, table);
  return found.length === 0 ? undefined : new Map(found.map((column) => [column.name, column]));
}

async function postgresColumns(
  runner: QueryRunner,
  { name }: EncryptedTable,
): Promise<StoredColumn[]> {
  return (await runner.query(
    `SELECT a.attname AS name, t.typname AS type,
            CASE WHEN t.typname = 'varchar' AND a.atttypmod > 4 THEN a.atttypmod - 4 END AS length,
            COALESCE(c.collisdeterministic, TRUE) AS exact
       FROM pg_attribute a
       JOIN pg_type t ON t.oid = a.atttypid
       LEFT JOIN pg_collation c ON c.oid = a.attcollation
      WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`,
    [name],
  )) as StoredColumn[];
}

async function mayRead(runner: QueryRunner, { name }: EncryptedTable): Promise<boolean> {
  if (runner.connection.options.type !== 'postgres') return true;
  const [row] = (await runner.query(
    `SELECT has_any_column_privilege(to_regclass($1)::oid, 'SELECT') AS may`,
    [name],
  )) as { may: boolean }[];
  return row?.may === true;
}

/** SQLite enforces neither types nor lengths; a comparison shows the collation. */
async function sqliteColumns(runner: QueryRunner, table: EncryptedTable): Promise<StoredColumn[]> {
  const { tablePath, tableName } = table.metadata;
  if (!(await runner.hasTable(tablePath))) return [];
  const columns = (await runner.query(`SELECT name FROM pragma_table_xinfo(?)`, [tableName])) as {
    name: string;
  }[];
  const found: StoredColumn[] = [];
  for (const { name } of columns) {
    const binary = table.columns.some(
      ({ column, policy }) => column.databaseName === name && policy.storage === 'binary',
    );
    const exact = await comparesExactly(runner, table, name);
    found.push({ name, type: binary ? 'blob' : 'text', length: null, exact });
  }
  return found;
}

async function comparesExactly(
  runner: QueryRunner,
  { name: table }: EncryptedTable,
  column: string,
): Promise<boolean> {
  const name = runner.connection.driver.escape(column);
  const [row] = (await runner.query(
    `SELECT x = 'A' OR x = 'a ' AS same
       FROM (SELECT ${name} AS x FROM ${table} WHERE 0 UNION ALL SELECT 'a')`,
  )) as { same: number }[];
  return row?.same !== 1;
}

function tableMissing({ metadata }: EncryptedTable): Finding {
  return finding(
    'TABLE_MISSING',
    `The table ${metadata.tablePath} of ${metadata.name} does not exist.`,
    'Run your migrations.',
  );
}

function tableUnreadable({ metadata }: EncryptedTable): Finding {
  return finding(
    'TABLE_UNREADABLE',
    `The database role may not read ${metadata.tablePath} of ${metadata.name}.`,
    `Run: GRANT SELECT ON ${metadata.tablePath} TO the role, unless it is not to read it.`,
  );
}

/** Of the columns that are missing, `schema expand` adds those of tokens only. */
const ADD_COLUMN =
  'If none adds it, write one with migration:generate, and read it before it runs: it drops a column that was renamed or has another type, with the data.';
const ADD_INDEX = 'If none adds it, write one with `field-encryption schema expand`.';

function columnMissing(
  encrypted: EncryptedColumn,
  { databaseName }: ColumnMetadata,
  otherwise: string,
): Finding {
  return finding(
    'COLUMN_MISSING',
    `${describeColumn(encrypted)}: the table has no column ${databaseName}.`,
    `Run your migrations. ${otherwise}`,
  );
}

function wrongType(
  encrypted: EncryptedColumn,
  { name, type }: StoredColumn,
  wanted: readonly string[],
): Finding {
  return finding(
    'COLUMN_TYPE',
    `${describeColumn(encrypted)}: the column ${name} is of type ${type}, wanted is ${wanted.join(' or ')}.`,
    'Write a migration with `field-encryption schema expand`.',
  );
}

function tooShort(
  encrypted: EncryptedColumn,
  { name, length }: StoredColumn,
  needed: number,
): Finding {
  return finding(
    'COLUMN_TOO_SHORT',
    `${describeColumn(encrypted)}: the column ${name} holds ${String(length)} characters and needs ${String(needed)}; writes fail.`,
    'Make it text, or as wide as the entity says.',
  );
}

function tooNarrow(
  encrypted: EncryptedColumn,
  { name, length }: StoredColumn,
  bytes: number,
): Finding {
  return finding(
    'COLUMN_NARROW',
    `${describeColumn(encrypted)}: the column ${name} holds ${String(length)} characters, hence values of ${String(bytes)} bytes at most; writes of longer ones fail in the database.`,
    'Make it text, or say so with @Encrypted({ length }): then longer values are refused by name.',
  );
}

function inexact(encrypted: EncryptedColumn, { name }: StoredColumn): Finding {
  return finding(
    'COLUMN_COLLATION',
    `${describeColumn(encrypted)}: the column ${name} has a collation under which different values are equal: lookups find other rows, and a run may overwrite a concurrent change.`,
    'Give the column a binary collation ("C", or COLLATE BINARY with SQLite).',
  );
}
