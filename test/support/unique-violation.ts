import type { QueryFailedError } from 'typeorm';

/** Whether an error is that of a unique index, as the drivers of the databases say it. */
export function isUniqueViolation(error: Error): boolean {
  const { driverError } = error as Partial<QueryFailedError<Error & { code?: string }>>;
  return /^(?:23505|SQLITE_CONSTRAINT.*|ER_DUP_ENTRY)$/.test(driverError?.code ?? '');
}
