import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';

import type { PageColumn, StoredPage } from '../database/row';
import type { WorkTable } from '../database/work-table';
import { DEFAULT_PAGE_ROWS } from '../report/run-options';

import type { RunContext } from './run-context';

/** Pages shrink when the database takes longer than `SLOW_MS` for one, and grow below `FAST_MS`. */
const SLOW_MS = 1000;
const FAST_MS = 250;
const SMALLEST_PAGE = 10;
/** Rows of the first page, which shows how long rows are: few, in case they are very long. */
const FIRST_PAGE = 50;
/** Rough size of a page in characters and bytes; several are in memory at a time. */
const PAGE_LENGTH = 4 * 1024 * 1024;

/** Milliseconds between checks on other workers, a replica or the application. */
export const POLL_MS = 200;

/** The size and the rate of pages. */
export class Pace {
  /** The most rows that a page may have. */
  readonly most: number;
  readonly #maxRate: number | undefined;
  #rows: number;
  /** Rows that make up {@link PAGE_LENGTH}. */
  #fitting = Number.POSITIVE_INFINITY;
  #due = performance.now();

  /**
   * @param most - the most rows that a page may have.
   * @param maxRate - the most rows a second.
   */
  constructor(most: number, maxRate: number | undefined) {
    // A page of more rows would mean a wait of more than a second.
    this.most = Math.max(1, Math.floor(Math.min(most, maxRate ?? most)));
    this.#maxRate = maxRate;
    this.#rows = Math.min(FIRST_PAGE, this.most);
  }

  /** Rows of the next page. */
  get rows(): number {
    return Math.min(this.#rows, this.#fitting);
  }

  /** Adapts to the length of the rows that were read. */
  saw({ rows, cells }: StoredPage): void {
    const length = cells.reduce((sum, column) => sum + lengthOf(column), 0);
    this.#fitting = Math.max(1, Math.floor((PAGE_LENGTH * rows) / Math.max(1, length)));
  }

  /** Adapts to the time that the database took to write a page. */
  took(milliseconds: number): void {
    const smallest = Math.min(SMALLEST_PAGE, this.most);
    if (milliseconds > SLOW_MS) this.#rows = Math.max(smallest, Math.floor(this.#rows / 2));
    else if (milliseconds < FAST_MS) this.#rows = Math.min(this.most, this.#rows * 2);
  }

  /** Waits until the rate allows `rows` more. */
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

/** Returns the pace that the options ask for, in pages that the database can take. */
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
