import type { UsedKeys } from '../../keys/used-keys';
import type { RowKey } from './row';

/** What one column of the table holds in the rows of a page, in their order. */
export type PageColumn = readonly unknown[];

/**
 * Rows as stored, column by column: several pages are under way at a time, and an object for each row
 * would cost the garbage collector more than all else that a run does with it.
 */
export interface StoredPage {
  readonly rows: number;
  /** The columns of the primary key. */
  readonly keys: readonly PageColumn[];
  /** The cells that a run reads, in its order. */
  readonly cells: readonly PageColumn[];
  /** What tells this version of a row from later ones, where the database has such a thing. */
  readonly versions: readonly PageColumn[];
}

/** Rows of a page that are to be written, each if it is still as it was read. */
export interface PageChange {
  readonly page: StoredPage;
  /** Which of them. */
  readonly rows: readonly number[];
  /** The keys that what is to be written was made with, to be asked once more just before it is. */
  readonly used: UsedKeys;
  /** What the cells are to hold, like {@link StoredPage.cells}; of interest in these rows only. */
  readonly cells: readonly PageColumn[];
}

/** Primary key of one row. */
export function keyAt({ keys }: StoredPage, row: number): RowKey {
  return keys.map((column) => column[row]);
}

/** Primary key of the last row; `undefined` when there is none. */
export function lastKey(page: StoredPage): RowKey | undefined {
  return page.rows === 0 ? undefined : keyAt(page, page.rows - 1);
}
