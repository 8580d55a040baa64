import type { QueryRunner } from 'typeorm';

import type { Transactions } from '../transactions';

import { openWriters } from './open-writers';
import { lockIndex, lockTokens } from './token-locks';

/** The flag in the status that the server sends with each result (`SERVER_STATUS_IN_TRANS`). */
const IN_TRANSACTION = 1;

/** How long to wait for a lock that another transaction holds, in seconds; an audit sink may take 10 of them. */
const LOCK_WAIT_S = 15;

export const mysqlTransactions: Transactions = {
  shareConnection: false,
  isolation: 'READ COMMITTED',
  isActive,
  withLimitedLockWaits,
  limitIdleTime: () => Promise.resolve(),
  snapshotAge: async (runner, startedAt) => {
    if (!(await isActive(runner))) return 0;
    return startedAt === undefined ? Infinity : Date.now() - startedAt;
  },
  lockTokens,
  lockIndex,
  openWriters,
};

async function isActive(runner: QueryRunner): Promise<boolean> {
  const { serverStatus } = (await runner.query('DO 0')) as { readonly serverStatus: number };
  return (serverStatus & IN_TRANSACTION) !== 0;
}

async function withLimitedLockWaits<T>(runner: QueryRunner, work: () => Promise<T>): Promise<T> {
  const [row] = (await runner.query('SELECT @@innodb_lock_wait_timeout AS s')) as { s: number }[];
  const before = Number(row?.s);
  if (before <= LOCK_WAIT_S) return work();
  await runner.query(`SET SESSION innodb_lock_wait_timeout = ${String(LOCK_WAIT_S)}`);
  try {
    return await work();
  } finally {
    await runner.query(`SET SESSION innodb_lock_wait_timeout = ${String(before)}`);
  }
}
