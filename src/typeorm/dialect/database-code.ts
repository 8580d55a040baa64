import { QueryFailedError } from 'typeorm';

/** Returns the driver's own code, also that behind TypeORM's error; empty if there is none. */
export function databaseCode(error: unknown): string {
  const { code } = (driverError(error) ?? {}) as { code?: unknown };
  return typeof code === 'string' ? code : '';
}

/** Returns the error that a driver threw, which may be behind TypeORM's. */
export function driverError(error: unknown): unknown {
  return error instanceof QueryFailedError ? error.driverError : error;
}
