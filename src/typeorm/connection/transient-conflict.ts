import { ExponentialBackoff, handleWhen, retry } from 'cockatiel';
import type { RetryPolicy } from 'cockatiel';
import { QueryFailedError } from 'typeorm';

const TRANSIENT_CODES = ['40001', '40P01', 'SQLITE_BUSY', 'SQLITE_BUSY_SNAPSHOT', 'SQLITE_LOCKED'];

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
  return TRANSIENT_CODES.includes(databaseCode(error));
}

/** Whether a wait for a lock timed out. */
export function isLockTimeout(error: unknown): boolean {
  return databaseCode(error) === '55P03';
}

/** Whether a unique index refused a row. */
export function isUniqueViolation(error: unknown): boolean {
  const code = databaseCode(error);
  if (code === '23505' || code === 'SQLITE_CONSTRAINT_UNIQUE') return true;
  // The sqlite3 driver has one code for all constraints.
  return (
    code.startsWith('SQLITE_CONSTRAINT') &&
    error instanceof Error &&
    /UNIQUE constraint failed/.test(error.message)
  );
}

/** Returns the driver's own code, also that behind TypeORM's error; empty if there is none. */
export function databaseCode(error: unknown): string {
  const failure: unknown = error instanceof QueryFailedError ? error.driverError : error;
  const { code } = (failure ?? {}) as { code?: unknown };
  return typeof code === 'string' ? code : '';
}
