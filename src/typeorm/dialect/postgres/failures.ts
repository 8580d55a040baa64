import type { DriverError, Failure } from '../failure';

import { LOCK_TIMEOUT } from './lock-waits';

/** Appendix A of PostgreSQL's manual. */
const FAILURES: ReadonlyMap<string, Failure> = new Map([
  ['40001', 'transient'],
  ['40P01', 'transient'],
  [LOCK_TIMEOUT, 'lockTimeout'],
  ['23505', 'notUnique'],
  ['42501', 'forbidden'],
  ['42P01', 'missing'],
  ['42703', 'missing'],
]);

export function postgresFailure({ code }: DriverError): Failure | undefined {
  return FAILURES.get(code);
}
