import type { QueryRunner } from 'typeorm';

import type { Transactions } from '../transactions';

import { openWriters } from './open-writers';
import { liftIdleLimit, limitIdleTime, withLimitedLockWaits } from './session-limits';
import { lockIndex, lockTokens } from './token-locks';

/** The flag in the status that the server sends with each result (`SERVER_STATUS_IN_TRANS`). */
const IN_TRANSACTION = 1;

/** MariaDB has the first name, MySQL the second, and newer versions of MariaDB both. */
const ISOLATION_SQL =
  "SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')";

const MENTIONS_ISOLATION = /uncommitted|_isolation/i;

/** Comments; of those that are executed, what is around their SQL. */
const COMMENTS = /\/\*M?!\d*|\/\*[^]*?\*\/|\*\/|(?:#|--\s)[^\n]*/g;

/**
 * Names the level in words, or assigns to the variable without a word for the session, which is for the next
 * transaction: another value than the names of the other levels may be the number of this one, or computed.
 */
const LETS_READ =
  /(?:^|;)\s*SET\b[^;]*?(?:\bREAD[\s-]+UNCOMMITTED\b|@@`?(?:tx|transaction)_isolation`?\s*:?=(?!\s*['"]?(?:READ-COMMITTED|REPEATABLE-READ|SERIALIZABLE)\b))/i;

export const mysqlTransactions: Transactions = {
  shareConnection: false,
  snapshot: [
    'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ',
    'START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY',
  ],
  isolation: 'READ COMMITTED',
  readsUncommitted,
  letsReadUncommitted,
  isActive,
  withLimitedLockWaits,
  limitIdleTime,
  liftIdleLimit,
  snapshotAge: async (runner, start) => {
    if (start?.seesCommits === true || !(await isActive(runner))) return 0;
    return start === undefined ? Infinity : Date.now() - start.at;
  },
  lockTokens,
  lockIndex,
  openWriters,
};

async function isActive(runner: QueryRunner): Promise<boolean> {
  const { serverStatus } = (await runner.query('DO 0')) as { readonly serverStatus: number };
  return (serverStatus & IN_TRANSACTION) !== 0;
}

function letsReadUncommitted(sql: string): boolean {
  return MENTIONS_ISOLATION.test(sql) && LETS_READ.test(sql.replace(COMMENTS, ' '));
}

async function readsUncommitted(runner: QueryRunner): Promise<boolean> {
  const levels = (await runner.query(ISOLATION_SQL)) as { readonly Value: string }[];
  return levels.some(({ Value: level }) => level === 'READ-UNCOMMITTED');
}
