import type { QueryRunner } from 'typeorm';
import { inspectStored } from '../format/field-ciphertext';
import { encryptedTables } from '../reencryption/encrypted-table';
import type { EncryptedTable } from '../reencryption/encrypted-table';
import { describeColumn } from '../typeorm/encrypted-column';
import type { EncryptedColumn } from '../typeorm/encrypted-column';
import { storedSamples } from '../typeorm/stored-samples';
import type { DatabaseCheck } from './check';
import type { Finding } from './finding';
import { finding } from './finding';
import { mayHide } from './row-security';

/** Whether columns that may hold ciphertext only hold cleartext, as far as samples show. */
export const cleartext: DatabaseCheck = async (installation, runner) => {
  const found: Finding[] = [];
  for (const table of encryptedTables(installation)) {
    // A finding of its own.
    if (await mayHide(runner, table.name)) continue;
    for (const encrypted of table.columns) {
      if (encrypted.readsPlaintext || encrypted.previousFormat !== undefined) continue;
      if (!(await mayRead(runner, table, encrypted))) continue;
      const samples = await storedSamples(runner, table.metadata, encrypted);
      if (samples.some((stored) => isPlaintext(stored, encrypted))) {
        found.push(cleartextFound(encrypted));
      }
    }
  }
  return found;
};

function isPlaintext(stored: unknown, { policy }: EncryptedColumn): boolean {
  return inspectStored(stored, policy.storage).kind === 'plaintext';
}

/** Of a table or column that does not exist, `false`. */
async function mayRead(
  runner: QueryRunner,
  { name, metadata }: EncryptedTable,
  { column }: EncryptedColumn,
): Promise<boolean> {
  if (runner.connection.options.type !== 'postgres') return true;
  const columns = [...metadata.primaryColumns, column].map(({ databaseName }) => databaseName);
  const [row] = (await runner.query(
    `SELECT bool_and(has_column_privilege($1::text, a.attname::text, 'SELECT')) AS may
       FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attname::text = ANY($2)`,
    [name, columns],
  )) as { may: boolean | null }[];
  return row?.may === true;
}

function cleartextFound(encrypted: EncryptedColumn): Finding {
  const name = describeColumn(encrypted);
  return finding(
    'CLEARTEXT_FOUND',
    `${name}: rows hold cleartext, and legacyPlaintext does not name the property: reading them fails.`,
    `Name '${name}' in legacyPlaintext until \`field-encryption data encrypt\` has encrypted the rows.`,
  );
}
