import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import type { RunMode, RowFailureCode } from '../report/run-report';

/** The value of one encrypted column in one row, with its tokens. */
export interface StoredField {
  readonly stored: unknown;
  /** In the order of the column's indexes; empty if the mode leaves them alone. */
  readonly tokens: readonly unknown[];
  /** The context of the row, if the value is bound to that. */
  readonly context: string | undefined;
}

/** The parts of a field that a mode may change. */
export type FieldContent = Pick<StoredField, 'stored' | 'tokens'>;

/** The rows that a mode still has to do, as far as the headers of ciphertexts tell. */
export type Pending = 'underOtherKey' | 'notEncrypted' | 'encrypted';

/** The work that a run does on each row. */
export interface Mode {
  readonly name: RunMode;
  /** `undefined` if only reading can tell. */
  readonly pending: Pending | undefined;
  readsTokens(encrypted: EncryptedColumn): boolean;
  /** The cells that it may change, of the tokens those that it reads. */
  readonly writes: 'both' | 'tokens' | 'nothing';
  /** Whether it is for a column. */
  takes(encrypted: EncryptedColumn): boolean;
  /** What a column needs for it, for messages. */
  readonly needs: string;
  /**
   * Does the slow part of reading for a whole page, such as calls to a KMS, and returns what to read
   * instead of the stored values, in their order.
   */
  prepare(encrypted: EncryptedColumn, stored: readonly unknown[]): Promise<readonly unknown[]>;
  /**
   * Returns the field as it should be.
   *
   * @param readable - what {@link Mode.prepare} returned for the stored value, for `decryptStored`.
   * @throws `FieldEncryptionError` for a value that cannot be read or kept.
   */
  transform(encrypted: EncryptedColumn, field: StoredField, readable: unknown): FieldContent;
  /** Returns what is wrong with the field, apart from what reading it throws. */
  check?(
    encrypted: EncryptedColumn,
    field: StoredField,
    readable: unknown,
  ): RowFailureCode | undefined;
}
