/**
 * The public half of a version of a signing key, and the signatures by which it and the previous version vouch for
 * each other. Anybody who can write to the table can put anything there: only a chain of signatures proves it.
 */
export interface SigningKeyRow {
  readonly keyId: string;
  readonly name: string;
  readonly version: number;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** By the previous version; empty where there is none, or where that was compromised. */
  readonly signedByPrevious: Uint8Array;
  /** By this version, of the previous one; empty like {@link SigningKeyRow.signedByPrevious}. */
  readonly signsPrevious: Uint8Array;
}

/**
 * The port to the table of public signing keys.
 *
 * @typeParam C - a connection, opaque to the keys.
 */
export interface SigningKeyStore<C = unknown> {
  /** @throws {@link ConfigurationError} without the table, which names its migration */
  require(): Promise<void>;

  /** Returns the rows of a name by version, without those that nobody could have written here; none without a table. */
  list(name: string): Promise<SigningKeyRow[]>;

  /** Adds a row within the transaction of this connection. */
  insert(row: SigningKeyRow, connection: C): Promise<void>;
}
