import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import type { RunContext } from './run-context';
import { DEFAULT_PAGE_ROWS } from '../report/run-options';
import type { PageColumn, StoredPage } from '../database/row';
import type { WorkTable } from '../database/work-table';

/** Milliseconds that the database may take for a page before pages shrink, and under which they grow again. */
const SLOW_MS = 1000;
const FAST_MS = 250;
const SMALLEST_PAGE = 10;
/** Rows of the first page, from which it is seen how long rows are: few enough should they be the longest. */
const FIRST_PAGE = 50;
/** Characters and bytes of a page about, of which some are in memory at a time. */
const PAGE_LENGTH = 4 * 1024 * 1024;

/** Milliseconds between two looks at what other workers, a replica or the application are doing. */
export const POLL_MS = 200;

/** How many rows to take at once, and how soon. */
export class Pace {
  /** Rows in a page at most. */
  readonly most: number;
  readonly #maxRate: number | undefined;
  #rows: number;
  /** Rows that make up {@link PAGE_LENGTH}. */
  #fitting = Number.POSITIVE_INFINITY;
  #due = performance.now();

  /**
   * @param most - rows in a page at most.
   * @param maxRate - rows a second at most.
   */
  constructor(most: number, maxRate: number | undefined) {
    // A page must not be worth more than about a second of waiting.
    this.most = Math.max(1, Math.floor(Math.min(most, maxRate ?? most)));
    this.#maxRate = maxRate;
    this.#rows = Math.min(FIRST_PAGE, this.most);
  }

  /** Rows of the next page. */
  get rows(): number {
    return Math.min(this.#rows, this.#fitting);
  }

  /** Takes in how long rows are. */
  saw({ rows, cells }: StoredPage): void {
    const length = cells.reduce((sum, column) => sum + lengthOf(column), 0);
    this.#fitting = Math.max(1, Math.floor((PAGE_LENGTH * rows) / Math.max(1, length)));
  }

  /** Takes in how long the database took to write a page. */
  took(milliseconds: number): void {
    const smallest = Math.min(SMALLEST_PAGE, this.most);
    if (milliseconds > SLOW_MS) this.#rows = Math.max(smallest, Math.floor(this.#rows / 2));
    else if (milliseconds < FAST_MS) this.#rows = Math.min(this.most, this.#rows * 2);
  }

  /** Waits until `rows` more may be done. */
  async wait(rows: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#maxRate === undefined) return;
    const now = performance.now();
    const due = this.#due;
    this.#due = Math.max(due, now) + (rows / this.#maxRate) * 1000;
    await sleep(due - now, signal);
  }
}

function lengthOf(column: PageColumn): number {
  return column.reduce<number>(
    (sum, cell) => sum + (typeof cell === 'string' || Buffer.isBuffer(cell) ? cell.length : 0),
    0,
  );
}

/** The pace that the options of a run ask for, in pages that the database can take. */
export function paceOf(
  { database, options }: Pick<RunContext, 'database' | 'options'>,
  table: WorkTable,
): Pace {
  const most = Math.min(options.batchSize ?? DEFAULT_PAGE_ROWS, database.maxRows(table));
  return new Pace(most, options.maxRate);
}

/** Resolves after a time, or as soon as the signal is aborted. */
export async function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  if (milliseconds <= 0) return;
  await delay(milliseconds, undefined, signal === undefined ? {} : { signal }).catch(
    (error: unknown) => {
      if (!(signal?.aborted ?? false)) throw error;
    },
  );
}
