import { ExponentialBackoff, handleWhen, retry } from 'cockatiel';
import { QueryFailedError } from 'typeorm';

const TRANSIENT_CODES = ['40001', '40P01', 'SQLITE_BUSY', 'SQLITE_BUSY_SNAPSHOT', 'SQLITE_LOCKED'];

/** Tries again, with growing delays, what a transient conflict has stopped. */
export const conflicts = retry(handleWhen(isTransientConflict), {
  maxAttempts: 8,
  backoff: new ExponentialBackoff({ initialDelay: 20, maxDelay: 2000 }),
});

/** Serialization failures, deadlocks and a busy SQLite file, which go away by themselves. */
export function isTransientConflict(error: unknown): boolean {
  return TRANSIENT_CODES.includes(databaseCode(error));
}

/** A unique index refused a row. */
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

/** The driver's own code, also behind TypeORM's error; empty where there is none. */
export function databaseCode(error: unknown): string {
  const failure: unknown = error instanceof QueryFailedError ? error.driverError : error;
  const { code } = (failure ?? {}) as { code?: unknown };
  return typeof code === 'string' ? code : '';
}
