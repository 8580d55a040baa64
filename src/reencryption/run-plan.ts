import type { RunMode } from './run-mode';
import type { ColumnStatus } from './status';

/** What a run has to do in one table. */
export interface TablePlan {
  readonly entity: string;
  readonly table: string;
  readonly rows: number;
  /** Rows that the run has to rewrite; all of them where only reading can tell. */
  readonly pending: number;
  /** The columns that it works on, with their rows for each data-key version. */
  readonly columns: readonly ColumnStatus[];
  /** SQL condition of the rows that come first; empty for none. */
  readonly first: string;
}

/** What a run has to do, in order. */
export interface RunPlan {
  readonly mode: RunMode;
  readonly tables: readonly TablePlan[];
  /** A rough estimate by the first rows of each table, without throttling. */
  readonly estimatedSeconds: number;
}
