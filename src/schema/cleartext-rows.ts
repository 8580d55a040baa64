import type { QueryRunner } from 'typeorm';
import type { EncryptedTable } from '../reencryption/encrypted-table';
import { selectAllRows } from '../typeorm/all-rows';
import { isCiphertextSql } from '../typeorm/ciphertext-check';
import type { EncryptedColumn } from '../typeorm/encrypted-column';

/** Rows whose value is not a ciphertext; `stored` is SQL for the value in the form of the column's storage. */
export async function countCleartext(
  runner: QueryRunner,
  { metadata, name }: EncryptedTable,
  { policy }: EncryptedColumn,
  stored: string,
): Promise<number> {
  const condition = isCiphertextSql(runner.connection, stored, policy.storage);
  const [row] = await selectAllRows<{ total: number | string }>(
    runner,
    metadata,
    `SELECT COUNT(*) AS total FROM ${name} WHERE NOT (${condition})`,
  );
  return Number(row?.total ?? 0);
}
