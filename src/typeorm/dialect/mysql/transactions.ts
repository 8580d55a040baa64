import type { QueryRunner } from 'typeorm';

import type { Transactions } from '../transactions';

import { openWriters } from './open-writers';
import { readsUncommitted, letsReadUncommitted } from './isolation';
import { liftIdleLimit, limitIdleTime, withLimitedLockWaits } from './session-limits';
import { lockIndex, lockTokens } from './token-locks';

/** The flag in the status that the server sends with each result (`SERVER_STATUS_IN_TRANS`). */
const IN_TRANSACTION = 1;

export const mysqlTransactions: Transactions = {
  shareConnection: false,
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
