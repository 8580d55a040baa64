import type { FieldEncryptionErrorCode } from '../../errors';
import type { ColumnStatus } from '../coverage/status';

/** What a run does to the rows. */
export type RunMode = 'encrypt' | 'reencrypt' | 'reindex' | 'decrypt' | 'verify';

/** Modes that change rows, which several workers may share. */
export const WRITING_MODES = ['encrypt', 'reencrypt', 'reindex', 'decrypt'] as const;

/** One of {@link WRITING_MODES}. */
export type WritingMode = (typeof WRITING_MODES)[number];

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

/** How far a run has come. */
export interface RunProgress {
  readonly entity: string;
  /** Rows looked at so far, and rows in all tables when the run began. */
  readonly scanned: number;
  readonly total: number;
  readonly changed: number;
}

/**
 * What is wrong with a row: the code of the error that reading it threw; `DUPLICATE_TOKEN` for a
 * value that another row of a unique index has already; `STALE_TOKEN` for a token that is not the
 * one of the value.
 */
export type RowFailureCode = FieldEncryptionErrorCode | 'DUPLICATE_TOKEN' | 'STALE_TOKEN';

/** A row that was left as it is. */
export interface RowFailure {
  readonly entity: string;
  readonly property: string;
  readonly primaryKey: readonly unknown[];
  readonly code: RowFailureCode;
  /** Primary key of the row that has the value already, for `DUPLICATE_TOKEN`. */
  readonly conflictsWith?: readonly unknown[];
}

/** What a run did. */
export interface RunReport {
  readonly mode: RunMode;
  /** Rows looked at. */
  readonly scanned: number;
  /** Rows rewritten (in a dry run: that would be). */
  readonly changed: number;
  /** Rows that needed nothing. */
  readonly skipped: number;
  /** Rows that other writers kept changing; run again. */
  readonly conflicts: number;
  /** Rows that could not be read or written; they are left as they are. */
  readonly failed: number;
  /** The first 100 of those. */
  readonly failures: readonly RowFailure[];
  /** Whether `signal` ended the run early. */
  readonly aborted: boolean;
  /** Whether it went on where an unfinished run had stopped. */
  readonly resumed: boolean;
  /**
   * Rows that a last count, in SQL, found not done: 0 is the proof that all are. `null` where only
   * reading can tell (`reindex`, `verify`) and for a run that ended early.
   */
  readonly remaining: number | null;
  /** In a dry run: what there is to do. */
  readonly plan?: RunPlan;
}

const MAX_FAILURES_LISTED = 100;

/** One report of what several workers did in the same runs. The last one says how it ended. */
export function mergedReport(last: RunReport, others: readonly RunReport[]): RunReport {
  const all = [...others, last];
  const sum = (count: 'scanned' | 'changed' | 'skipped' | 'conflicts' | 'failed'): number =>
    all.reduce((total, report) => total + report[count], 0);
  return {
    ...last,
    scanned: sum('scanned'),
    changed: sum('changed'),
    skipped: sum('skipped'),
    conflicts: sum('conflicts'),
    failed: sum('failed'),
    failures: all.flatMap(({ failures }) => failures).slice(0, MAX_FAILURES_LISTED),
    resumed: all.some(({ resumed }) => resumed),
  };
}

/** A page that was looked at: its rows, those that are to change, and those that cannot. */
interface LookedAtPage {
  readonly rows: number;
  readonly changes: { readonly rows: readonly number[] };
  readonly failures: readonly RowFailure[];
}

/** Counts what a run does, over all its tables. */
export class RunCounts {
  total = 0;
  /** Rows that can be looked at, each counted once; unknown to a worker that joins. */
  most = Number.POSITIVE_INFINITY;
  scanned = 0;
  changed = 0;
  skipped = 0;
  conflicts = 0;
  resumed = false;
  remaining: number | null = 0;
  #failures: RowFailure[] = [];
  #failed = 0;
  /** The pass that they are of. */
  #pass: number | undefined;
  /** Those of the tables before: a pass over a table finds its failures again. */
  #settled: { readonly failed: number; readonly failures: readonly RowFailure[] } = {
    failed: 0,
    failures: [],
  };

  /** Takes in rows that were looked at, some of which needed nothing. A further pass looks at some again. */
  read(rows: number, skipped: number): void {
    const left = Math.max(0, this.most - this.scanned);
    this.scanned += Math.min(left, rows);
    this.skipped += Math.min(left, skipped);
  }

  progress(entity: string): RunProgress {
    const { scanned, total, changed } = this;
    return { entity, scanned, total: Math.max(total, scanned), changed };
  }

  /** Takes in a page that is done, of which `changed` rows were rewritten, and `failures` are beside its own. */
  done(page: LookedAtPage, changed: number, failures: readonly RowFailure[] = []): void {
    for (const failure of [...page.failures, ...failures]) this.#fail(failure);
    this.changed += changed;
    this.read(page.rows, page.rows - page.changes.rows.length - page.failures.length);
  }

  #fail(failure: RowFailure): void {
    this.#failed += 1;
    if (this.#failures.length < MAX_FAILURES_LISTED) this.#failures.push(failure);
  }

  get failed(): number {
    return this.#settled.failed + this.#failed;
  }

  /** Forgets the failures of the pass before, which a further pass finds again. */
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
    this.#settled = {
      failed: this.failed,
      failures: [...this.#settled.failures, ...this.#failures].slice(0, MAX_FAILURES_LISTED),
    };
    this.#forget(undefined);
  }

  report(mode: RunMode, aborted: boolean, plan?: RunPlan): RunReport {
    const { scanned, changed, skipped, conflicts, resumed, remaining } = this;
    this.endTable();
    const { failed, failures } = this.#settled;
    return {
      mode,
      scanned,
      changed,
      skipped,
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
