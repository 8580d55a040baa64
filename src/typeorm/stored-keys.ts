import type { QueryRunner } from 'typeorm';
import { selectAllRows } from './all-rows';
import { hasColumn } from './live-columns';
import { keyIdOfPrefix } from '../format/data-key-id';
import { inspectStored } from '../format/field-ciphertext';
import type { EncryptedColumn } from './encrypted-column';
import { escapedTable } from './escaped-table';
import type { EncryptedColumns } from './take-over';

/** Values looked at from either end of a table. */
const SAMPLES = 100;

/**
 * Ids of the data keys that values in the columns of a key name are under, as far as the first and the
 * last of them by primary key show: a table that is being encrypted has cleartext at one end at most
 * after its first new row. Only what parses strictly as a ciphertext counts.
 */
export async function keysOfStoredValues(
  { byEntity }: EncryptedColumns,
  keyName: string,
  runner: QueryRunner,
): Promise<string[]> {
  const { driver } = runner.connection;
  const ids = new Set<string>();
  const seen = new Set<string>();
  for (const [metadata, { columns }] of byEntity) {
    const table = escapedTable(runner.connection, metadata);
    const order = metadata.primaryColumns.map(({ databaseName }) => driver.escape(databaseName));
    for (const encrypted of columns.filter(({ policy }) => policy.keyName === keyName)) {
      const { databaseName } = encrypted.column;
      const cell = driver.escape(databaseName);
      // Classes of one table share its columns, and the schema may be behind the entities.
      if (seen.has(`${table}.${cell}`)) continue;
      seen.add(`${table}.${cell}`);
      if (!(await hasColumn(runner, metadata.tablePath, databaseName))) continue;
      for (const direction of ['ASC', 'DESC']) {
        const by = order.map((name) => `${name} ${direction}`).join(', ');
        const rows = await selectAllRows<{ readonly stored: unknown }>(
          runner,
          metadata,
          `SELECT ${cell} AS stored FROM ${table} WHERE ${cell} IS NOT NULL ` +
            `${by === '' ? '' : `ORDER BY ${by} `}LIMIT ${String(SAMPLES)}`,
        );
        for (const { stored } of rows) addKeyOf(stored, encrypted, ids);
      }
    }
  }
  return [...ids];
}

function addKeyOf(stored: unknown, { policy }: EncryptedColumn, ids: Set<string>): void {
  const inspection = inspectStored(stored, policy.storage);
  if (inspection.kind !== 'ciphertext') return;
  const id = keyIdOfPrefix(inspection.prefix);
  if (id !== undefined) ids.add(id);
}
