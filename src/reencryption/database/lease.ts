import type { RowKey } from './row';

/** Milliseconds that a worker has a range for; every page renews it. */
export const LEASE_MS = 60_000;

/** A range of rows that this worker has, until it renews no more. */
export interface Lease {
  readonly runId: string;
  readonly pass: number;
  readonly seq: number;
  /** Another worker that takes the range over gets a higher one. */
  readonly fence: number;
  /** Primary key of the last row that is done, or the one before the first. */
  readonly after: RowKey | undefined;
  /** Primary key of the last row; `undefined` for the end of the table. */
  readonly until: RowKey | undefined;
  /** Escaped name of the table of ranges. */
  readonly table: string;
}
