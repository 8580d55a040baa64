import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { maxPlainBytes, storedLength } from '../../format/field-ciphertext';
import type { Storage } from '../../format/field-ciphertext';
import { encryptedTables } from '../../reencryption/encrypted-table';
import type { EncryptedTable } from '../../reencryption/encrypted-table';
import type { StoredColumn } from '../../typeorm/dialect/database-catalog';
import { catalogOf, dialectOf } from '../../typeorm/dialect/dialect-of';
import { describeColumn } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn, IndexedColumn } from '../../typeorm/metadata/encrypted-column';
import { finding, SCHEMA_EXPAND } from '../finding';
import type { DatabaseCheck, Finding } from '../finding';

/** Checks that columns can hold what is written to them, and tell any two values apart. */
export const columns: DatabaseCheck = async (installation, runner) => {
  const { suite } = installation.options;
  const found: Finding[] = [];
  for (const table of encryptedTables(installation)) {
    const catalog = catalogOf(runner);
    const rights = await catalog.rights(runner, table.metadata);
    if (rights === undefined) {
      found.push(tableMissing(table));
      continue;
    }
    if (!rights.has('SELECT')) found.push(tableUnreadable(table));
    const stored = new Map(
      (await catalog.columns(runner, table.metadata)).map((column) => [column.name, column]),
    );
    // A role without any right on the table may not see what columns it has.
    if (stored.size === 0) continue;
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
  const wanted = typesFor(column, policy.storage);
  if (isOther(found, wanted)) return [wrongType(encrypted, found, wanted)];
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
  const wanted = typesFor(column, 'text');
  if (isOther(found, wanted)) return [wrongType(encrypted, found, wanted)];
  const needed = Number(column.length);
  return [
    ...(found.length !== null && found.length < needed ? [tooShort(encrypted, found, needed)] : []),
    ...(found.exact ? [] : [inexact(encrypted, found)]),
  ];
}

/** Returns the types of columns without and with a limit of their length. */
function typesFor({ entityMetadata }: ColumnMetadata, storage: Storage): string[] {
  const { values } = dialectOf(entityMetadata.connection);
  return [...new Set([undefined, 1].map((length) => String(values.columnType(storage, length))))];
}

function isOther({ type }: StoredColumn, wanted: readonly string[]): boolean {
  return type !== null && !wanted.includes(type);
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
const ADD_INDEX = `If none adds it, write one with \`field-encryption ${SCHEMA_EXPAND}\`.`;

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
    `${describeColumn(encrypted)}: the column ${name} is of type ${String(type)}, wanted is ${wanted.join(' or ')}.`,
    `Write a migration with \`field-encryption ${SCHEMA_EXPAND}\`.`,
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
