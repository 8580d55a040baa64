/** A stored value of a bound column with the context of its row, for `decryptStored`. */
export class StoredInRow {
  readonly stored: unknown;
  /** Of the row; see `RowContextForm`. */
  readonly context: string;

  constructor(stored: unknown, context: string) {
    this.stored = stored;
    this.context = context;
  }
}
