import type { Transactions } from '../transactions';

import { limitLockWaits } from './lock-waits';
import { openWriters } from './open-writers';
import { rowSecurity } from './row-security';
import { lockIndex, lockTokens } from './token-locks';

/** `now()` is when the transaction began, or the statement outside of one. */
const SNAPSHOT_AGE_SQL =
  "SELECT CASE WHEN current_setting('transaction_isolation') LIKE 'read %' THEN 0 " +
  "ELSE pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - pg_catalog.now()) * 1000 END AS ms";

export const postgresTransactions: Transactions = {
  shareConnection: false,
  snapshot: ['BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY'],
  isActive: async (runner) => {
    if (runner.isTransactionActive) return true;
    // Outside of a transaction, each statement is one.
    const [row] = (await runner.query('SELECT now() <> statement_timestamp() AS inside')) as [
      { readonly inside: boolean },
    ];
    return row.inside;
  },
  withLimitedLockWaits: async (runner, work) => {
    await limitLockWaits(runner);
    return work();
  },
  limitIdleTime: async (runner, ms) => {
    await runner.query(`SET LOCAL idle_in_transaction_session_timeout = ${String(ms)}`);
  },
  snapshotAge: async (runner) => {
    const [row] = (await runner.query(SNAPSHOT_AGE_SQL)) as { readonly ms: number | string }[];
    return Number(row?.ms);
  },
  lockTokens,
  lockIndex,
  openWriters,
  rowSecurity,
};
