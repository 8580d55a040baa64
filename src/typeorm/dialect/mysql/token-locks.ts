import type { QueryRunner } from 'typeorm';

import { KeyStateError } from '../../../errors';
import { databaseCode } from '../database-code';
import { escapedTable } from '../escaped-table';
import type { Transactions } from '../transactions';

import { withLimitedLockWaits } from './session-limits';

/**
 * Locks the row of the oldest root of blind indexes, which stays where it is. There is no lock of a name that ends with
 * a transaction (`GET_LOCK` outlives it), so all writers of indexes that are changing take turns.
 */
async function lockRoot(runner: QueryRunner): Promise<void> {
  const { connection } = runner;
  const table = escapedTable(connection, connection.getMetadata('FieldEncryptionDataKey'));
  const [oldest] = (await runner.query(
    `SELECT id FROM ${table} WHERE purpose = 'index' ORDER BY created_at, id LIMIT 1`,
  )) as { id: string }[];
  try {
    // By all of a unique index, so that no gap is locked beside it.
    await withLimitedLockWaits(runner, () =>
      runner.query(`SELECT id FROM ${table} WHERE id = ? FOR UPDATE`, [oldest?.id]),
    );
  } catch (error) {
    throw databaseCode(error) === 'ER_LOCK_WAIT_TIMEOUT' ? heldByOthers(error) : error;
  }
}

export const lockTokens: Transactions['lockTokens'] = (runner) => lockRoot(runner);
export const lockIndex: Transactions['lockIndex'] = (runner) => lockRoot(runner);

function heldByOthers(cause: unknown): KeyStateError {
  return new KeyStateError(
    'A blind index is changing, and another transaction that writes a value of one does not end. Look for who ' +
      'holds it open (SHOW PROCESSLIST), and try again.',
    { retryable: true, cause },
  );
}
