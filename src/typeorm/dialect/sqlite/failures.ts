import type { DriverError, Failure } from '../failure';

const TRANSIENT_CODES = ['SQLITE_BUSY', 'SQLITE_BUSY_SNAPSHOT', 'SQLITE_LOCKED'];

export function sqliteFailure({ code, message }: DriverError): Failure | undefined {
  if (TRANSIENT_CODES.includes(code)) return 'transient';
  // The sqlite3 driver has one code for all constraints.
  const isUnique =
    code === 'SQLITE_CONSTRAINT_UNIQUE' ||
    (code.startsWith('SQLITE_CONSTRAINT') && message.includes('UNIQUE constraint failed'));
  if (isUnique) return 'notUnique';
  return /no such (table|column):|has no column named/.test(message) ? 'missing' : undefined;
}
