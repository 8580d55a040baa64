import type { FieldEncryptionErrorCode } from '../../errors';
import type { ColumnStatus } from '../coverage/status';

/** The kind of a run. */
export type RunMode = 'encrypt' | 'reencrypt' | 'reindex' | 'decrypt' | 'verify';

/** Modes that change rows, which several workers may share. */
export const WRITING_MODES = ['encrypt', 'reencrypt', 'reindex', 'decrypt'] as const;

/** One of {@link WRITING_MODES}. */
export type WritingMode = (typeof WRITING_MODES)[number];

/** The work of a run in one table. */
export interface TablePlan {
  readonly entity: string;
  readonly table: string;
  /** Rows that the run is about. */
  readonly rows: number;
  /** Rows to rewrite; all of them if only reading can tell. */
  readonly pending: number;
  /** The columns to work on, with their rows for each data-key version, in the whole table. */
  readonly columns: readonly ColumnStatus[];
  /** SQL condition of the rows that the run is about, without values of its parameters; empty for all. */
  readonly where: string;
  /** SQL condition of the rows that come first; empty for none. */
  readonly first: string;
}

/** The work of a run, in order. */
export interface RunPlan {
  readonly mode: RunMode;
  readonly tables: readonly TablePlan[];
  /** Rough estimate from the first rows of each table, without throttling. */
  readonly estimatedSeconds: number;
}

/** The progress of a run. */
export interface RunProgress {
  readonly entity: string;
  /** Rows looked at so far, and rows in all tables when the run began. */
  readonly scanned: number;
  readonly total: number;
  /** Rows of `scanned` that were done before, and so say nothing of its speed; see {@link RunReport.doneBefore}. */
  readonly doneBefore: number;
  readonly changed: number;
}

/**
 * Why a row failed: the code of the error that reading it threw; `DUPLICATE_TOKEN` for a value that
 * another row of a unique index already has; `STALE_TOKEN` for a token that is not that of the value;
 * `MISSING_INDEX_KEY` if the scope of the row has no key that tokens are made with; `COMMON_KEY` for a value under a
 * common key in a property with keys of scopes, which `legacyScope` does not name.
 */
export type RowFailureCode =
  FieldEncryptionErrorCode | 'COMMON_KEY' | 'DUPLICATE_TOKEN' | 'MISSING_INDEX_KEY' | 'STALE_TOKEN';

/** A row that failed and was left as it is. */
export interface RowFailure {
  readonly entity: string;
  readonly property: string;
  readonly primaryKey: readonly unknown[];
  readonly code: RowFailureCode;
  /** Primary key of the row that already has the value, for `DUPLICATE_TOKEN`. */
  readonly conflictsWith?: readonly unknown[];
}

/** The result of a run. */
export interface RunReport {
  readonly mode: RunMode;
  /** Rows looked at. */
  readonly scanned: number;
  /** Rows rewritten, or in a dry run, rows that would be. */
  readonly changed: number;
  /** Rows that needed nothing. */
  readonly skipped: number;
  /**
   * Rows with values of erased scopes, which nobody can read: no failure. Counted when the run begins; 0 in the
   * report of a worker that joins one.
   */
  readonly erased: number;
  /**
   * Rows under earlier keys of scopes whose erasure is requested: no run can move them, and they are not among
   * `remaining`. Counted when `reencrypt` begins, 0 otherwise.
   */
  readonly toBeErased: number;
  /**
   * Rows of `skipped` that a count in SQL found to need nothing when this run began, and that it did not read:
   * those done by an earlier run, or by this one before it was interrupted. 0 if only reading can tell.
   */
  readonly doneBefore: number;
  /** Rows that other writers kept changing; run again. */
  readonly conflicts: number;
  /** Rows that could not be read or written, and were left as they are. */
  readonly failed: number;
  /** The first 100 of those. */
  readonly failures: readonly RowFailure[];
  /** Whether `signal` ended the run early. */
  readonly aborted: boolean;
  /** Whether it resumed an unfinished run. */
  readonly resumed: boolean;
  /**
   * Rows that a final count in SQL found not done: 0 proves that all are. `null` if only reading can
   * tell (`reindex`, `verify`) and for a run that ended early.
   */
  readonly remaining: number | null;
  /** The work to do, in a dry run. */
  readonly plan?: RunPlan;
}

/** The most failures that a report lists. */
export const MAX_FAILURES_LISTED = 100;

/** A page that was read: all its rows, those to change, and those that failed. */
interface LookedAtPage {
  readonly rows: number;
  readonly changes: { readonly rows: readonly number[] };
  readonly failures: readonly RowFailure[];
}

/** A count of what a run does, over all its tables. */
export class RunCounts {
  total = 0;
  /** The most rows that can be read, each counted once; unknown to a worker that joins. */
  most = Number.POSITIVE_INFINITY;
  scanned = 0;
  changed = 0;
  skipped = 0;
  erased = 0;
  toBeErased = 0;
  doneBefore = 0;
  conflicts = 0;
  resumed = false;
  remaining: number | null = 0;
  #failures: RowFailure[] = [];
  #failed = 0;
  /** The pass that found them. */
  #pass: number | undefined;
  /** The failures in earlier tables, which a pass over this one does not find again. */
  #before: { readonly failed: number; readonly failures: readonly RowFailure[] } = {
    failed: 0,
    failures: [],
  };

  /** Counts rows that were read, some of which needed nothing. A later pass reads some again. */
  read(rows: number, skipped: number): void {
    const left = Math.max(0, this.most - this.scanned);
    this.scanned += Math.min(left, rows);
    this.skipped += Math.min(left, skipped);
  }

  /** Counts rows that a count in SQL found to need nothing. */
  foundDone(rows: number): void {
    this.doneBefore += rows;
    this.read(rows, rows);
  }

  progress(entity: string): RunProgress {
    const { scanned, total, doneBefore, changed } = this;
    return { entity, scanned, total: Math.max(total, scanned), doneBefore, changed };
  }

  /** Counts a page that is done: `changed` of its rows were rewritten, and writing it gave `failures`. */
  done(page: LookedAtPage, changed: number, failures: readonly RowFailure[] = []): void {
    for (const failure of [...page.failures, ...failures]) this.#fail(failure);
    this.changed += changed;
    this.read(page.rows, page.rows - page.changes.rows.length - page.failures.length);
  }

  /** Counts rows of a dry run, taken for changed until now, that a unique index would refuse. */
  refused(rows: number, listed: readonly RowFailure[]): void {
    for (const failure of listed) this.#fail(failure);
    this.#failed += rows - listed.length;
    this.changed -= rows;
  }

  #fail(failure: RowFailure): void {
    this.#failed += 1;
    if (this.#failures.length < MAX_FAILURES_LISTED) this.#failures.push(failure);
  }

  get failed(): number {
    return this.#before.failed + this.#failed;
  }

  /** Forgets the failures of the previous pass, which this one finds again. */
  beginPass(pass: number): void {
    if (pass !== this.#pass) this.#forget(pass);
  }

  #forget(pass: number | undefined): void {
    this.#pass = pass;
    this.#failures = [];
    this.#failed = 0;
  }

  /** Keeps the failures of the last pass over a table. */
  endTable(): void {
    this.#before = {
      failed: this.failed,
      failures: [...this.#before.failures, ...this.#failures].slice(0, MAX_FAILURES_LISTED),
    };
    this.#forget(undefined);
  }

  report(mode: RunMode, aborted: boolean, plan?: RunPlan): RunReport {
    const {
      scanned,
      changed,
      skipped,
      erased,
      toBeErased,
      doneBefore,
      conflicts,
      resumed,
      remaining,
    } = this;
    this.endTable();
    const { failed, failures } = this.#before;
    return {
      mode,
      scanned,
      changed,
      skipped,
      erased,
      toBeErased,
      doneBefore,
      conflicts,
      failed,
      failures,
      aborted,
      resumed,
      remaining: aborted ? null : remaining,
      ...(plan === undefined ? {} : { plan }),
    };
  }
}
