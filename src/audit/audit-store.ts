import type { AuditEntry } from './audit-entry';

/**
 * The port to the table of the audit log, which is only ever appended to.
 *
 * @typeParam C - a connection, opaque to the log.
 */
export interface AuditStore<C = unknown> {
  /** False while the table does not exist. */
  exists(connection?: C): Promise<boolean>;

  /** The entries after `after`, in order of `seq`, at most `limit`. */
  list(
    range: { readonly after: number; readonly limit: number },
    connection?: C,
  ): Promise<AuditEntry[]>;

  /** The last entry about a version of this key. */
  lastOfKey(purpose: string, name: string, connection?: C): Promise<AuditEntry | undefined>;

  /** The last entry. */
  last(connection?: C): Promise<AuditEntry | undefined>;

  /**
   * Keeps all other writers from appending until the transaction of this connection ends. What is
   * read through it afterwards is the newest.
   */
  lock(connection: C): Promise<void>;

  /** Adds an entry, within the transaction of this connection. */
  append(entry: AuditEntry, connection: C): Promise<void>;

  /** Runs `work` in a transaction of its own. Transient conflicts are tried again. */
  transaction(work: (connection: C) => Promise<void>): Promise<void>;
}
