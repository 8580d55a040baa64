import type { EntityMetadata, QueryRunner } from 'typeorm';

import { isBoundField } from '../../field/field-policy';
import { keyIdOfPrefix } from '../../format/data-key-id';
import { inspectStored } from '../../format/field-ciphertext';
import { catalogOf } from '../dialect/dialect-of';
import { escapedTable } from '../dialect/escaped-table';
import type { EncryptedColumn, EncryptedColumns } from '../metadata/encrypted-column';
import { selectAllRows } from '../tables/all-rows';

/** Values that are read from either end of a table. */
const SAMPLES = 100;

/**
 * Reads the first and the last stored values of a column by primary key: from its first new row on, a
 * table that is being encrypted has cleartext at one end at most. Returns none if the schema is behind the
 * entities.
 *
 * @throws {@link ConfigurationError} if rows are hidden from the database role
 */
export async function storedSamples(
  runner: QueryRunner,
  metadata: EntityMetadata,
  encrypted: EncryptedColumn,
): Promise<unknown[]> {
  const { databaseName } = encrypted.column;
  if (!(await catalogOf(runner).hasColumn(runner, metadata.tablePath, databaseName))) return [];
  const ends = sampleSql(runner, metadata, encrypted, SAMPLES, 'stored');
  const samples: unknown[] = [];
  for (const sql of ends) {
    const rows = await selectAllRows<{ readonly stored: unknown }>(runner, metadata, sql);
    samples.push(...rows.map(({ stored }) => stored));
  }
  return samples;
}

/**
 * Returns the statements that read the first and the last rows with a value, by primary key.
 *
 * @param cells - the value alone, as `stored`, or all columns of its row.
 */
export function sampleSql(
  { connection }: QueryRunner,
  metadata: EntityMetadata,
  { column: { databaseName } }: EncryptedColumn,
  samples: number,
  cells: 'stored' | '*',
): string[] {
  const { driver } = connection;
  const cell = driver.escape(databaseName);
  return ['ASC', 'DESC'].map((direction) => {
    const order = metadata.primaryColumns
      .map((column) => `${driver.escape(column.databaseName)} ${direction}`)
      .join(', ');
    return (
      `SELECT ${cells === '*' ? '*' : `${cell} AS stored`} FROM ${escapedTable(connection, metadata)} ` +
      `WHERE ${cell} IS NOT NULL ${order === '' ? '' : `ORDER BY ${order} `}LIMIT ${String(samples)}`
    );
  });
}

/**
 * Returns the ids of the data keys that encrypted the values in columns of a key name, as far as samples
 * show. Only values that parse strictly as ciphertexts count.
 */
export async function keysOfStoredValues(
  { byEntity }: EncryptedColumns,
  keyName: string,
  runner: QueryRunner,
): Promise<string[]> {
  const ids = new Set<string>();
  const seen = new Set<string>();
  for (const [metadata, { columns }] of byEntity) {
    const table = escapedTable(runner.connection, metadata);
    for (const encrypted of columns.filter(
      // Where cleartext may be, a value that looks like a ciphertext proves nothing.
      ({ policy, readsPlaintext }) => policy.keyName === keyName && !readsPlaintext,
    )) {
      // Classes of one table share its columns.
      const place = `${table}.${encrypted.column.databaseName}`;
      if (seen.has(place)) continue;
      seen.add(place);
      for (const stored of await storedSamples(runner, metadata, encrypted)) {
        addKeyOf(stored, encrypted, ids);
      }
    }
  }
  return [...ids];
}

function addKeyOf(stored: unknown, { policy }: EncryptedColumn, ids: Set<string>): void {
  const inspection = inspectStored(stored, policy.storage, isBoundField(policy));
  if (inspection.kind !== 'ciphertext') return;
  const id = keyIdOfPrefix(inspection.prefix);
  if (id !== undefined) ids.add(id);
}

/** Whether a blind-index column already holds tokens. */
export async function hasStoredTokens(
  { byEntity }: EncryptedColumns,
  runner: QueryRunner,
): Promise<boolean> {
  const { connection } = runner;
  for (const [metadata, { columns }] of byEntity) {
    const table = escapedTable(connection, metadata);
    const common = columns.flatMap(({ indexes }) => indexes.filter(({ isScoped }) => !isScoped));
    for (const { column } of common) {
      // The schema may be behind the entities.
      if (!(await catalogOf(runner).hasColumn(runner, metadata.tablePath, column.databaseName)))
        continue;
      const name = connection.driver.escape(column.databaseName);
      const rows = await selectAllRows(
        runner,
        metadata,
        `SELECT 1 FROM ${table} WHERE ${name} IS NOT NULL LIMIT 1`,
      );
      if (rows.length > 0) return true;
    }
  }
  return false;
}
