import type { DataSource, QueryRunner } from 'typeorm';

import { KeyStateError } from '../../errors';
import { dialectOf } from '../dialect/dialect-of';

import { withConnection } from './lent-connection';
import { soleConnection } from './sole-connection';
import { explainAccess } from './table-access';
import { isLockTimeout, isTransientConflict, retriesOf } from './transient-conflict';

const conflicts = retriesOf(mayGoAway, 1000);

/** Work in a transaction of the library's own. */
interface OwnTransaction<T> {
  readonly work: (runner: QueryRunner) => Promise<T>;
  /** Whether to commit with this result. */
  readonly isDone: (result: T) => boolean;
  /** Runs instead if the connection is in a transaction. */
  readonly inTransaction: () => Promise<T>;
}

/**
 * Runs `work` in a transaction of its own, and commits it if the result is `true`. Retries after a
 * transient conflict.
 *
 * @throws {@link KeyStateError}, retryable, if others hold what it needs for too long;
 * {@link ConfigurationError} if the role lacks rights
 */
export async function inOwnTransaction(
  dataSource: DataSource,
  connection: QueryRunner | undefined,
  work: (runner: QueryRunner) => Promise<boolean>,
): Promise<boolean> {
  const { transactions } = dialectOf(dataSource);
  try {
    return await conflicts.execute(async () =>
      withConnection(dataSource, connection, (runner) =>
        ownTransaction(runner, {
          work: (own) => transactions.withLimitedLockWaits(own, () => work(own)),
          isDone: (done) => done,
          inTransaction: () => Promise.reject(busyWithTransaction()),
        }),
      ),
    );
  } catch (error) {
    const isHeldByOthers = isLockTimeout(error) || isTransientConflict(error);
    const explained = explainAccess(error);
    throw isHeldByOthers ? lockedTooLong(error) : explained;
  }
}

/** {@link inOwnTransaction} once, on a connection that the caller holds. */
export async function ownTransaction<T>(runner: QueryRunner, own: OwnTransaction<T>): Promise<T> {
  const sole = soleConnection(runner.connection);
  if (sole !== undefined) {
    return sole.whileAlone((alone) => inStatements(alone, own), own.inTransaction);
  }
  return runner.isTransactionActive ? own.inTransaction() : inTransaction(runner, own);
}

async function inTransaction<T>(
  runner: QueryRunner,
  { work, isDone }: OwnTransaction<T>,
): Promise<T> {
  const { transactions } = dialectOf(runner.connection);
  await runner.startTransaction(transactions.isolation);
  try {
    const result = await work(runner);
    if (isDone(result)) await runner.commitTransaction();
    else await runner.rollbackTransaction();
    return result;
  } catch (error) {
    if (runner.isTransactionActive) await quietly(runner.rollbackTransaction());
    throw error;
  } finally {
    await quietly(transactions.liftIdleLimit?.(runner));
  }
}

/** Bypasses TypeORM's methods: subscribers to transactions would be told, and may wait for the end of this one. */
async function inStatements<T>(
  runner: QueryRunner,
  { work, isDone }: OwnTransaction<T>,
): Promise<T> {
  await runner.query('BEGIN IMMEDIATE');
  // `save()` and the like go by these.
  Object.assign(runner, { isTransactionActive: true, transactionDepth: 1 });
  try {
    const result = await work(runner);
    await runner.query(isDone(result) ? 'COMMIT' : 'ROLLBACK');
    return result;
  } catch (error) {
    await quietly(runner.query('ROLLBACK'));
    throw error;
  }
}

/** Ignores a failure at the end: the connection may be gone, and with it the transaction. The first error says more. */
async function quietly(ending: Promise<unknown> | undefined): Promise<void> {
  try {
    await ending;
  } catch {
    return;
  }
}

/** Returns the error of SQLite's only connection while the application has a transaction on it. */
export function busyWithTransaction(): KeyStateError {
  return new KeyStateError(
    "The database's only connection is in a transaction, in which a key cannot be created safely. " +
      'Try again when the transaction has ended.',
    { retryable: true },
  );
}

function lockedTooLong(cause: unknown): KeyStateError {
  return new KeyStateError(
    'Other transactions on the tables of keys and audit log do not end. Nothing was changed. Look for who ' +
      'holds them open (PostgreSQL: pg_stat_activity and pg_blocking_pids(); MySQL: SHOW PROCESSLIST), and try again.',
    { retryable: true, cause },
  );
}

function mayGoAway(error: unknown): boolean {
  return error instanceof KeyStateError ? error.retryable : isTransientConflict(error);
}
