import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

/** A row of which some columns are known, while values of it are encrypted or looked up. */
export interface KnownRow {
  /** Returns what the row has in a column; undefined if that is not known. */
  value(column: ColumnMetadata): unknown;
  /** Returns the id of the row's scope of a kind, where it is known without a column. */
  scopeId?(kind: string): string | undefined;
  /** Whether its scope has no keys, so that tokens for it must match nothing. */
  readonly hasNoKeys?: boolean;
}

let current: KnownRow | undefined;

/** Does something synchronous with the values of a row. */
export function withKnownRow<T>(row: KnownRow | undefined, work: () => T): T {
  const outer = current;
  current = row;
  try {
    return work();
  } finally {
    current = outer;
  }
}

/** Returns the row whose values are at work. */
export function knownRow(): KnownRow | undefined {
  return current;
}
