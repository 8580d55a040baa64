import type { QueryRunner } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { escapedTable } from '../escaped-table';
import type { Transactions } from '../transactions';

export const sqliteTransactions: Transactions = {
  shareConnection: true,
  snapshot: ['BEGIN'],
  isActive: ({ isTransactionActive }) => Promise.resolve(isTransactionActive),
  // The driver limits them.
  withLimitedLockWaits: (_runner, work) => work(),
  limitIdleTime: () => Promise.resolve(),
  // A snapshot that is no longer the newest allows no write.
  snapshotAge: () => Promise.resolve(0),
  lockTokens: takeWriteLock,
  lockIndex: takeWriteLock,
};

/** Takes the lock of the database before the first read. */
async function takeWriteLock(
  runner: QueryRunner,
  { databaseName, entityMetadata }: ColumnMetadata,
): Promise<void> {
  const { connection } = runner;
  const name = connection.driver.escape(databaseName);
  const table = escapedTable(connection, entityMetadata);
  await runner.query(`UPDATE ${table} SET ${name} = ${name} WHERE 1 = 0`);
}
