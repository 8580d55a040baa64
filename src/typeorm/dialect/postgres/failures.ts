import type { DriverError, Failure } from '../failure';

/** Appendix A of PostgreSQL's manual. */
const FAILURES: ReadonlyMap<string, Failure> = new Map([
  ['40001', 'transient'],
  ['40P01', 'transient'],
  ['55P03', 'lockTimeout'],
  ['23505', 'notUnique'],
  ['42501', 'forbidden'],
  ['42P01', 'missing'],
  ['42703', 'missing'],
]);

export function postgresFailure({ code }: DriverError): Failure | undefined {
  return FAILURES.get(code);
}
