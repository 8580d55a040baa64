import type { DriverError, Failure } from '../failure';

/** The names of errors that `mysql2` has from the manuals of MySQL and MariaDB. */
const FAILURES: ReadonlyMap<string, Failure> = new Map([
  ['ER_LOCK_DEADLOCK', 'transient'],
  ['ER_CHECKREAD', 'transient'],
  ['ER_LOCK_WAIT_TIMEOUT', 'lockTimeout'],
  ['ER_DUP_ENTRY', 'notUnique'],
  ['ER_DUP_ENTRY_WITH_KEY_NAME', 'notUnique'],
  ['ER_NET_PACKET_TOO_LARGE', 'tooLarge'],
  ['ER_TABLEACCESS_DENIED_ERROR', 'forbidden'],
  ['ER_COLUMNACCESS_DENIED_ERROR', 'forbidden'],
  ['ER_DBACCESS_DENIED_ERROR', 'forbidden'],
  ['ER_SPECIFIC_ACCESS_DENIED_ERROR', 'forbidden'],
  ['ER_NO_SUCH_TABLE', 'missing'],
  ['ER_BAD_FIELD_ERROR', 'missing'],
]);

export function mysqlFailure({ code }: DriverError): Failure | undefined {
  return FAILURES.get(code);
}
