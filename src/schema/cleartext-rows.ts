import type { QueryRunner } from 'typeorm';
import type { EncryptedTable } from '../reencryption/encrypted-table';
import { isCiphertextSql } from '../typeorm/ciphertext-check';
import type { EncryptedColumn } from '../typeorm/encrypted-column';

/** Rows whose value is not a ciphertext; `stored` is SQL for the value in the form of the column's storage. */
export async function countCleartext(
  runner: QueryRunner,
  { name }: EncryptedTable,
  { policy }: EncryptedColumn,
  stored: string,
): Promise<number> {
  const condition = isCiphertextSql(runner.connection, stored, policy.storage);
  const [row] = (await runner.query(
    `SELECT COUNT(*) AS total FROM ${name} WHERE NOT (${condition})`,
  )) as { total: number | string }[];
  return Number(row?.total ?? 0);
}
