import { ExponentialBackoff, handleWhen, retry } from 'cockatiel';
import type { RetryPolicy } from 'cockatiel';

import { databaseCode } from '../dialect/database-code';
import { failureOf } from '../dialect/dialect-of';
import type { Failure } from '../dialect/failure';

/** Retries, with growing delays, after a transient conflict. */
export const conflicts = retriesOf(isTransientConflict);

/** Returns a policy that retries, with growing delays, after errors that go away by themselves. */
export function retriesOf(isTransient: (error: unknown) => boolean, maxDelay = 2000): RetryPolicy {
  return retry(handleWhen(isTransient), {
    maxAttempts: 8,
    backoff: new ExponentialBackoff({ initialDelay: 20, maxDelay }),
  });
}

/** Whether an error goes away by itself: a serialization failure, a deadlock or a busy SQLite file. */
export function isTransientConflict(error: unknown): boolean {
  return databaseFailure(error) === 'transient';
}

/** Whether a wait for a lock timed out. */
export function isLockTimeout(error: unknown): boolean {
  return databaseFailure(error) === 'lockTimeout';
}

/** Whether a unique index refused a row. */
export function isUniqueViolation(error: unknown): boolean {
  return databaseFailure(error) === 'notUnique';
}

/** Returns what failed at an error of a database, also behind TypeORM's error. */
export function databaseFailure(error: unknown): Failure | undefined {
  const { message } = (error ?? {}) as { readonly message?: unknown };
  return failureOf({
    code: databaseCode(error),
    message: typeof message === 'string' ? message : '',
  });
}
