import type { DataSource, QueryRunner } from 'typeorm';
import { ExponentialBackoff, handleWhen, retry } from 'cockatiel';
import { KeyStateError } from '../errors';
import { isTransientConflict } from './transient-conflict';
import { withConnection } from './with-connection';

/** Serialization failures, deadlocks and a busy SQLite file go away by themselves. */
const conflicts = retry(handleWhen(mayGoAway), {
  maxAttempts: 8,
  backoff: new ExponentialBackoff({ initialDelay: 20, maxDelay: 1000 }),
});

/**
 * Runs `work` in a transaction that is nobody else's, and commits it where the answer is `true`. A
 * transient conflict is tried again.
 */
export async function inOwnTransaction(
  dataSource: DataSource,
  connection: QueryRunner | undefined,
  work: (runner: QueryRunner) => Promise<boolean>,
): Promise<boolean> {
  return conflicts.execute(async () =>
    withConnection(dataSource, connection, async (runner) => {
      // SQLite has one connection for everybody, which may be in the middle of a transaction.
      if (runner.isTransactionActive) throw busyWithTransaction();
      await runner.startTransaction();
      try {
        const done = await work(runner);
        if (done) await runner.commitTransaction();
        else await runner.rollbackTransaction();
        return done;
      } catch (error) {
        await rollBack(runner);
        throw error;
      }
    }),
  );
}

/** The connection may be gone, and then so is the transaction; the error that led here says more. */
async function rollBack(runner: QueryRunner): Promise<void> {
  if (!runner.isTransactionActive) return;
  try {
    await runner.rollbackTransaction();
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

function mayGoAway(error: unknown): boolean {
  return error instanceof KeyStateError ? error.retryable : isTransientConflict(error);
}
