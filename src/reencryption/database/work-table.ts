import type { EntityMetadata } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import type { EncryptedColumn, IndexedColumn } from '../../typeorm/metadata/encrypted-column';

import type { BoundCondition } from './bound-condition';

/** A column in the statements of a run. */
export interface WorkCell {
  readonly column: ColumnMetadata;
  /** Escaped. */
  readonly name: string;
  /** The type as the database names it. */
  readonly type: string;
  /** Whether the run may change it; other cells are only read and compared. */
  readonly written: boolean;
}

/** An encrypted column that takes part in a run, and the positions of its cells in a row. */
export interface ColumnWork {
  readonly encrypted: EncryptedColumn;
  readonly stored: number;
  readonly tokens: readonly { readonly indexed: IndexedColumn; readonly at: number }[];
  /** Of the columns that its values are bound to, in the order of its binding. */
  readonly bound: readonly number[];
}

/** A table that a run works on. */
export interface WorkTable {
  readonly metadata: EntityMetadata;
  /** Escaped, with schema. */
  readonly name: string;
  readonly keys: readonly WorkCell[];
  readonly cells: readonly WorkCell[];
  readonly columns: readonly ColumnWork[];
  /** The rows that the run is about. */
  readonly where: BoundCondition;
  /** SQL condition of the rows that come first; empty for none. */
  readonly first: string;
}
