import type { QueryRunner } from 'typeorm';
import { keyIdOfPrefix } from '../format/data-key-id';
import { inspectStored } from '../format/field-ciphertext';
import type { EncryptedColumn } from './encrypted-column';
import { escapedTable } from './escaped-table';
import { storedSamples } from './stored-samples';
import type { EncryptedColumns } from './take-over';

/**
 * Ids of the data keys that values in the columns of a key name are under, as far as samples show. Only
 * what parses strictly as a ciphertext counts.
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
    for (const encrypted of columns.filter(({ policy }) => policy.keyName === keyName)) {
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
  const inspection = inspectStored(stored, policy.storage);
  if (inspection.kind !== 'ciphertext') return;
  const id = keyIdOfPrefix(inspection.prefix);
  if (id !== undefined) ids.add(id);
}
