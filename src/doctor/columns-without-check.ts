import type { QueryRunner } from 'typeorm';
import { constraintsOn } from '../schema/postgres-catalog';
import { encryptedTables } from '../reencryption/encrypted-table';
import { ciphertextCheck } from '../typeorm/ciphertext-check';
import type { EncryptedColumn } from '../typeorm/encrypted-column';
import type { Installation } from '../typeorm/installation';

/**
 * Encrypted columns whose table has no CHECK constraint against cleartext, of those that may hold
 * none. Tables that are not there are left out.
 */
export async function columnsWithoutCheck(
  installation: Installation,
  runner: QueryRunner,
): Promise<EncryptedColumn[]> {
  const without: EncryptedColumn[] = [];
  for (const { metadata, name, columns } of encryptedTables(installation)) {
    if (!(await runner.hasTable(metadata.tablePath))) continue;
    for (const encrypted of columns) {
      if (encrypted.readsPlaintext || encrypted.previousFormat !== undefined) continue;
      const checks = await checksOn(runner, name, encrypted);
      if (!checks.some((sql) => keepsCleartextOut(sql, encrypted))) without.push(encrypted);
    }
  }
  return without;
}

/** SQL of the constraints that a column may be in. */
async function checksOn(
  runner: QueryRunner,
  table: string,
  { column, policy }: EncryptedColumn,
): Promise<string[]> {
  if (runner.connection.options.type === 'postgres') {
    const constraints = await constraintsOn(runner, table, column.databaseName);
    return constraints.filter(({ kind }) => kind === 'c').map(({ definition }) => definition);
  }
  const { name } = ciphertextCheck(column, policy.storage, runner.connection);
  const rows = (await runner.query(
    `SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?`,
    [column.entityMetadata.tableName],
  )) as { sql: string }[];
  return rows.filter(({ sql }) => sql.includes(name)).map(({ sql }) => sql);
}

/** By what only that constraint says; its name may have been chosen by a naming strategy since changed. */
function keepsCleartextOut(sql: string, { policy }: EncryptedColumn): boolean {
  return policy.storage === 'text' ? sql.includes('A[Q-Za-f]') : /01/.test(sql);
}
