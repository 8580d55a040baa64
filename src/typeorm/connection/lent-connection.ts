import type { DataSource, QueryRunner } from 'typeorm';

import { ANSWER_MS, waitBriefly } from '../../async/time-limit';
import { KeyStateError } from '../../errors';
import { dialectOf } from '../dialect/dialect-of';

/**
 * Runs `work` on the given connection, or else on one to the primary.
 *
 * @throws {@link KeyStateError}, retryable, if the pool has no connection for too long
 */
export async function withConnection<T>(
  dataSource: DataSource,
  connection: QueryRunner | undefined,
  work: (runner: QueryRunner) => Promise<T>,
): Promise<T> {
  if (connection !== undefined) return work(connection);
  const runner = dataSource.createQueryRunner('master');
  await connected(runner);
  try {
    return await work(runner);
  } finally {
    await runner.release();
  }
}

/**
 * Connects for a limited time: those who hold the connections of a pool may be waiting for what this one is for, and
 * each other.
 */
async function connected(runner: QueryRunner): Promise<void> {
  const connecting: Promise<unknown> = runner.connect();
  try {
    await waitBriefly(connecting, ANSWER_MS, poolExhausted);
  } catch (error) {
    connecting.then(
      () => runner.release(),
      () => undefined,
    );
    throw error;
  }
}

function poolExhausted(): KeyStateError {
  return new KeyStateError(
    `The pool of the database has had no free connection for ${String(ANSWER_MS / 1000)} s, which a key is to be read ` +
      'on. In a transaction, give its manager, such as reveal({ manager }) or decryptValue(…, { manager }), so that ' +
      'it is read on its connection. Otherwise the pool is too small, or transactions do not end.',
    { retryable: true },
  );
}

/** Query runners that a statement has created for itself. */
const lent = new WeakSet<QueryRunner>();

/** The fields of TypeORM's query runners that say whether it has a connection. */
interface Connected {
  isReleased: boolean;
  databaseConnection?: unknown;
  databaseConnectionPromise?: unknown;
}

/** Notes that a query runner is the statement's own: its connection may be given back while the statement waits. */
export function lend(runner: QueryRunner): QueryRunner {
  lent.add(runner);
  return runner;
}

/** Notes that others also use the query runner. */
export function share(runner: QueryRunner): void {
  lent.delete(runner);
}

/**
 * Gives the connection of a statement's own query runner back to the pool, from which its next query takes
 * one again. Synchronous, so no other code runs in between.
 *
 * @returns whether the caller holds no connection now; in a transaction it keeps it.
 */
export function giveBack(runner: QueryRunner | undefined): boolean {
  if (runner === undefined) return true;
  if (runner.isTransactionActive) return false;
  if (dialectOf(runner.connection).transactions.shareConnection) return true;
  if (!lent.has(runner)) return false;
  void runner.release();
  const connected: Partial<Connected> = {
    isReleased: false,
    databaseConnection: undefined,
    databaseConnectionPromise: undefined,
  };
  Object.assign(runner, connected);
  return true;
}

/**
 * Returns the caller's connection unless it is to a replica, which may lag behind the key table. Without
 * replication TypeORM reads in the mode 'slave', too, from its only pool: this may be the last connection.
 */
export function onPrimary(
  { driver }: DataSource,
  queryRunner: QueryRunner | undefined,
): QueryRunner | undefined {
  const isSlave = driver.isReplicated && queryRunner?.getReplicationMode() === 'slave';
  return isSlave ? undefined : queryRunner;
}
