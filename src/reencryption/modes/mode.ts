import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import type { RunMode, RowFailureCode } from '../report/run-report';

/** The cells of one encrypted column in one row. */
export interface Cells {
  readonly stored: unknown;
  /** In the order of the column's indexes; empty where the mode leaves them alone. */
  readonly tokens: readonly unknown[];
}

/** Which rows a mode still has to do, as far as the header of a ciphertext tells. */
export type Pending = 'underOtherKey' | 'notEncrypted' | 'encrypted';

/** What a run does to the rows. */
export interface Mode {
  readonly name: RunMode;
  /** `undefined` where only reading tells. */
  readonly pending: Pending | undefined;
  /** Which cells it reads, and which of them it may change. */
  readonly readsTokens: boolean;
  readonly writes: 'both' | 'stored' | 'tokens' | 'nothing';
  /** Columns that it is for. */
  takes(encrypted: EncryptedColumn): boolean;
  /** Why it takes no other, for messages. */
  readonly needs: string;
  /**
   * Does ahead for a page what takes longer than a call: what stands in the place of the stored
   * values as `readable`, in their order.
   */
  prepare(encrypted: EncryptedColumn, stored: readonly unknown[]): Promise<readonly unknown[]>;
  /**
   * The cells as they should be.
   *
   * @param readable - what {@link Mode.prepare} gave for the stored value.
   * @throws `FieldEncryptionError` for a value that cannot be read or kept.
   */
  transform(encrypted: EncryptedColumn, cells: Cells, readable: unknown): Cells;
  /** What is wrong with the cells beside what reading them throws. */
  check?(encrypted: EncryptedColumn, cells: Cells, readable: unknown): RowFailureCode | undefined;
}
