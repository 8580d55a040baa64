import type { EntityMetadata, QueryRunner } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

/** A transaction in which encrypted rows may have been written. */
export interface Writer {
  readonly writer: string;
  /** Whether it has been prepared, and outlives its session. */
  readonly prepared: boolean;
  /** `null` if the role may not see it. */
  readonly since: Date | null;
}

/** The beginning of a transaction, as far as its statements tell. */
export interface TransactionStart {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Whether it was begun to see what others commit meanwhile. */
  readonly seesCommits: boolean;
}

/** What differs in transactions and locks. */
export interface Transactions {
  /** Whether all query runners of a DataSource share its only connection. */
  readonly shareConnection: boolean;
  /** Begins a transaction that only reads, all of it as of one time. */
  readonly snapshot: readonly string[];
  /** The level of the library's own transactions; left out where the default shows them what others have committed. */
  readonly isolation?: 'READ COMMITTED';
  /**
   * Whether transactions of the session read what others have not committed; left out where none does. A key might be
   * read that is rolled back, and with it what was encrypted under it.
   */
  readsUncommitted?(runner: QueryRunner): Promise<boolean>;
  /** Whether a statement lets the next transaction alone do so, which the session does not tell. */
  letsReadUncommitted?(sql: string): boolean;
  /** Whether a connection is in a transaction, be it one that TypeORM does not know of. */
  isActive(runner: QueryRunner): Promise<boolean>;
  /**
   * Works in a transaction with a limit to how long it waits for a lock, unless one is already configured. The
   * limit may last until the transaction ends, but no longer.
   */
  withLimitedLockWaits<T>(runner: QueryRunner, work: () => Promise<T>): Promise<T>;
  /** Ends the transaction if it stands still for so many milliseconds. */
  limitIdleTime(runner: QueryRunner, ms: number): Promise<void>;
  /** Lifts that limit after the transaction; left out where it ends with it. */
  liftIdleLimit?(runner: QueryRunner): Promise<void>;
  /**
   * Fetches the age of the snapshot that the connection reads, in milliseconds; 0 if writing from it would fail.
   *
   * @param start - the beginning of the transaction; `undefined` if that was not seen.
   */
  snapshotAge(runner: QueryRunner, start: TransactionStart | undefined): Promise<number>;
  /**
   * Serializes the writers of each of these tokens of a unique index until the end of the transaction.
   *
   * @throws {@link KeyStateError}, retryable, if others hold them for too long
   */
  lockTokens(
    runner: QueryRunner,
    column: ColumnMetadata,
    tokens: () => ReadonlySet<string>,
  ): Promise<void>;
  /** Makes all writers of a unique index wait until the end of the transaction, as {@link lockTokens} does. */
  lockIndex(runner: QueryRunner, column: ColumnMetadata): Promise<void>;
  /** Left out where there is one writer at a time: an erasure begins as that one. */
  readonly openWriters?: OpenWriters;
  /** Left out where no policy hides rows from a role. */
  readonly rowSecurity?: RowSecurity;
}

/** Looking for transactions that write. */
export interface OpenWriters {
  /** Fetches the transactions that are writing one of these tables, or waiting to. */
  of(runner: QueryRunner, tables: readonly string[]): Promise<Writer[]>;
  /** The views in which an operator sees them. */
  readonly shownBy: string;
}

/** Reading tables from which policies may hide rows: all of them, or not at all. */
export interface RowSecurity {
  /** Whether a policy applies to the role; `false` for a table that does not exist. */
  mayHide(runner: QueryRunner, table: string): Promise<boolean>;
  /**
   * Reads a table by a SELECT without parameters. Safe on a shared connection.
   *
   * @throws {@link ConfigurationError} if rows would be left out
   */
  select(runner: QueryRunner, metadata: EntityMetadata, sql: string): Promise<unknown[]>;
  /**
   * Works on all rows of a table, on a connection that nobody else uses. If it is in a transaction, that stays
   * under the setting.
   *
   * @param send - runs SQL on the connection.
   * @throws {@link ConfigurationError} if rows would be left out
   */
  onAllRows<T>(
    send: (sql: string) => Promise<unknown>,
    metadata: EntityMetadata,
    transaction: { readonly isActive: boolean },
    work: () => Promise<T>,
  ): Promise<T>;
}
