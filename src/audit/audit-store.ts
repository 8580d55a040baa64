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

  /** The last entries about the key of this id, at most `limit`. */
  ofKey(keyId: string, limit: number, connection?: C): Promise<AuditEntry[]>;

  /** The highest version of this key in any entry, up to `limit`; 0 for none. */
  highestVersion(
    key: { readonly purpose: string; readonly name: string; readonly limit: number },
    connection?: C,
  ): Promise<number>;

  /** The last entry. */
  last(connection?: C): Promise<AuditEntry | undefined>;

  /**
   * Adds an entry, within the transaction of this connection, whose end others who append wait for.
   * Takes no lock beside: nobody without the right to insert can keep a writer waiting.
   *
   * @returns false where another entry has its number, which can be read now.
   */
  append(entry: AuditEntry, connection: C): Promise<boolean>;

  /** Runs `work` in a transaction of its own. Transient conflicts are tried again. */
  transaction(work: (connection: C) => Promise<void>): Promise<void>;
}
