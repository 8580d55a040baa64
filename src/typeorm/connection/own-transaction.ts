import { ExponentialBackoff, handleWhen, retry } from 'cockatiel';
import type { DataSource, QueryRunner } from 'typeorm';

import { KeyStateError } from '../../errors';
import { explainAccess } from './table-access';

import { soleConnection } from './sole-connection';
import { databaseCode, isTransientConflict } from './transient-conflict';
import { withConnection } from './lent-connection';

/** Serialization failures, deadlocks and a busy SQLite file go away by themselves. */
const conflicts = retry(handleWhen(mayGoAway), {
  maxAttempts: 8,
  backoff: new ExponentialBackoff({ initialDelay: 20, maxDelay: 1000 }),
});

/** For how long a lock is waited for that another transaction holds; an audit sink may take 10 s of it. */
const LOCK_WAIT = '15s';

/** What is to be done in a transaction that is nobody else's. */
interface OwnTransaction<T> {
  readonly work: (runner: QueryRunner) => Promise<T>;
  /** Whether to commit with this answer. */
  readonly isDone: (answer: T) => boolean;
  /** What is done instead where the connection is in a transaction. */
  readonly inTransaction: () => Promise<T>;
}

/**
 * Runs `work` in a transaction that is nobody else's, and commits it where the answer is `true`. A
 * transient conflict is tried again.
 *
 * @throws {@link KeyStateError}, retryable, where others hold what it needs for too long;
 * {@link ConfigurationError} for want of rights
 */
export async function inOwnTransaction(
  dataSource: DataSource,
  connection: QueryRunner | undefined,
  work: (runner: QueryRunner) => Promise<boolean>,
): Promise<boolean> {
  try {
    return await conflicts.execute(async () =>
      withConnection(dataSource, connection, (runner) =>
        ownTransaction(runner, {
          work: async (own) => {
            await limitLockWaits(own);
            return work(own);
          },
          isDone: (done) => done,
          inTransaction: () => Promise.reject(busyWithTransaction()),
        }),
      ),
    );
  } catch (error) {
    throw isHeldByOthers(error) ? lockedTooLong(error) : explainAccess(error);
  }
}

/** A limit that the database has already is somebody's decision. */
async function limitLockWaits(runner: QueryRunner): Promise<void> {
  if (runner.connection.options.type !== 'postgres') return;
  await runner.query(
    "SELECT set_config('lock_timeout', $1, true) WHERE current_setting('lock_timeout') = '0'",
    [LOCK_WAIT],
  );
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
  await runner.startTransaction();
  try {
    const answer = await work(runner);
    if (isDone(answer)) await runner.commitTransaction();
    else await runner.rollbackTransaction();
    return answer;
  } catch (error) {
    if (runner.isTransactionActive) await quietly(runner.rollbackTransaction());
    throw error;
  }
}

/** Past TypeORM's methods: subscribers to transactions would be told of one, and may wait for its end. */
async function inStatements<T>(
  runner: QueryRunner,
  { work, isDone }: OwnTransaction<T>,
): Promise<T> {
  await runner.query('BEGIN IMMEDIATE');
  // What `save()` and the like go by within it.
  Object.assign(runner, { isTransactionActive: true, transactionDepth: 1 });
  try {
    const answer = await work(runner);
    await runner.query(isDone(answer) ? 'COMMIT' : 'ROLLBACK');
    return answer;
  } catch (error) {
    await quietly(runner.query('ROLLBACK'));
    throw error;
  }
}

/** The connection may be gone, and then so is the transaction; the error that led here says more. */
async function quietly(rollback: Promise<unknown>): Promise<void> {
  try {
    await rollback;
  } catch {
    return;
  }
}

/** SQLite has one connection for everybody, and somebody is in the middle of a transaction. */
export function busyWithTransaction(): KeyStateError {
  return new KeyStateError(
    "The database's only connection is in a transaction, in which a key cannot be created safely. " +
      'Try again when the transaction has ended.',
    { retryable: true },
  );
}

/** `lock_not_available`, or a conflict that did not go away. */
function isHeldByOthers(error: unknown): boolean {
  return databaseCode(error) === '55P03' || isTransientConflict(error);
}

function lockedTooLong(cause: unknown): KeyStateError {
  return new KeyStateError(
    'Other transactions on the tables of keys and audit log do not end. Nothing was changed. Look for who ' +
      'holds them open (PostgreSQL: pg_stat_activity and pg_blocking_pids()), and try again.',
    { retryable: true, cause },
  );
}

function mayGoAway(error: unknown): boolean {
  return error instanceof KeyStateError ? error.retryable : isTransientConflict(error);
}
