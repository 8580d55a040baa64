import { performance } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Installation } from '../typeorm/installation';
import type { RunRow } from '../typeorm/run-tables';
import type { Lease } from './database/lease';
import type { RowKey, StoredRow } from './database/row';
import type { RunDatabase } from './database/run-database';
import type { Mode } from './modes/mode';
import { Pace, sleep } from './pace';
import { PageWork } from './page-work';
import type { WorkedPage } from './page-work';
import { PageWriter } from './page-writer';
import { DEFAULT_PAGE_ROWS } from './run-options';
import type { RunOptions } from './run-options';
import type { RunCounts } from './run-report';
import type { RunStore } from './run-store';
import type { TableWork } from './work-plan';

/** What all tables of a run have in common. */
export interface RunContext {
  readonly installation: Installation;
  readonly database: RunDatabase;
  readonly store: RunStore;
  readonly mode: Mode;
  readonly options: RunOptions;
  readonly counts: RunCounts;
  /** Pages that are read and worked on while one is written. */
  readonly pagesAhead: number;
}

/** A row that loses the race against a writer is read again by the next pass, this many times. */
const MAX_PASSES = 6;
/** Ranges are cut this many pages long: what a dead worker leaves, and what workers share out. */
const PAGES_PER_RANGE = 20;
/** Milliseconds between two looks at what other workers, a replica or the application are doing. */
const POLL_MS = 200;

/** Takes the rows of one table through a run, together with any number of other workers. */
export class TableRun {
  readonly #context: RunContext;
  readonly #work: TableWork;
  readonly #pages: PageWork;
  readonly #writer: PageWriter;
  readonly #pace: Pace;
  #rangesLeft = Number.POSITIVE_INFINITY;

  constructor(context: RunContext, work: TableWork) {
    const { installation, database, mode, options } = context;
    this.#context = context;
    this.#work = work;
    this.#pages = new PageWork(installation, database, mode, work.table);
    this.#writer = new PageWriter(database, work.table);
    const most = Math.min(options.batchSize ?? DEFAULT_PAGE_ROWS, database.maxRows(work.table));
    this.#pace = new Pace(most, options.maxRate);
  }

  /** Begins the run, or joins the one that is under way, and works until it is over. */
  async run(): Promise<void> {
    const run = await this.open();
    await this.join(run);
    this.#context.counts.endTable();
  }

  /** Begins the run, or finds the one that is under way, and works on nothing yet. */
  async open(): Promise<RunRow> {
    const { store, mode, options, counts } = this.#context;
    const { table, scope, structure } = this.#work;
    const identity = { mode: mode.name, tablePath: table.metadata.tablePath, scope, structure };
    const { run, resumed } = await store.open(identity, options.restart ?? false);
    if (resumed) counts.resumed = true;
    return run;
  }

  /**
   * Works in a run that is under way until it is over.
   *
   * @param maxRanges - ends after so many ranges, and where other workers have all that is left.
   */
  async join(run: RunRow, maxRanges = Number.POSITIVE_INFINITY): Promise<void> {
    const { store, counts } = this.#context;
    this.#rangesLeft = maxRanges;
    let pass = await store.pass(run);
    while (pass !== undefined && !this.#isEnough) {
      counts.beginPass(pass);
      await this.#pass(run, pass);
      pass = await store.pass(run);
    }
    // Others may have been through all rows again since, and have found what is wrong with them.
    const last = await store.find(run.id);
    if (last !== undefined) counts.beginPass(last.pass);
  }

  /** About how many ranges the run has to share out. */
  async countRanges(): Promise<number> {
    const { database } = this.#context;
    const { table, pending } = this.#work;
    const rowsInRange = PAGES_PER_RANGE * this.#pace.most;
    let ranges = 0;
    for (let pass = 0; pass <= this.#passesBefore; pass++) {
      const [, rows] = await database.count(table, this.#condition(pass) || 'TRUE');
      // Where only reading tells that all is done, everything is read twice.
      const times = pending === undefined && pass === this.#passesBefore ? 2 : 1;
      ranges += times * Math.ceil(rows / rowsInRange);
    }
    return ranges;
  }

  get #isEnough(): boolean {
    return this.#aborted || this.#rangesLeft <= 0;
  }

  get #aborted(): boolean {
    return this.#context.options.signal?.aborted ?? false;
  }

  /** Works on ranges until the pass is over for all workers, and settles what follows it. */
  async #pass(run: RunRow, pass: number): Promise<void> {
    const { store } = this.#context;
    while (!this.#isEnough) {
      const claim = await store.claim(run, pass, (after) => this.#boundary(pass, after));
      if (claim.kind === 'passOver') {
        await this.#afterPass(run, pass, claim);
        return;
      }
      if (claim.kind === 'range') {
        this.#rangesLeft -= 1;
        await this.#range(claim.lease);
      } else if ((await store.pass(run)) !== pass) return;
      else if (Number.isFinite(this.#rangesLeft)) this.#rangesLeft = 0;
      else await sleep(POLL_MS, this.#context.options.signal);
    }
  }

  /** A further pass, until none could do anything. */
  async #afterPass(
    run: RunRow,
    pass: number,
    { changed, lost }: { readonly changed: number; readonly lost: number },
  ): Promise<void> {
    const { store, counts } = this.#context;
    const passes = pass + 1 - this.#passesBefore;
    const isIdle = changed === 0 && lost === 0;
    const isOver = passes > 0 && (isIdle || passes >= MAX_PASSES || (await this.rowsLeft()) === 0);
    if (!isOver) {
      await store.nextPass(run, pass);
      return;
    }
    if ((await store.end(run)) && passes >= MAX_PASSES) counts.conflicts += lost;
  }

  /** Passes over the rows that come first. */
  get #passesBefore(): number {
    return this.#work.table.first === '' ? 0 : 1;
  }

  /** Rows that are still to be done; `undefined` where only reading tells. */
  async rowsLeft(): Promise<number | undefined> {
    const { table, pending } = this.#work;
    if (pending === undefined) return undefined;
    const [, left] = await this.#context.database.count(table, pending);
    return left;
  }

  #condition(pass: number): string {
    const { table, pending } = this.#work;
    const conditions = [pending, pass < this.#passesBefore ? table.first : undefined];
    return conditions
      .filter((condition) => condition !== undefined)
      .map((condition) => `(${condition})`)
      .join(' AND ');
  }

  #boundary(pass: number, after: RowKey | undefined): Promise<RowKey | undefined> {
    return this.#context.database.boundary(this.#work.table, {
      after,
      until: undefined,
      condition: this.#condition(pass),
      limit: PAGES_PER_RANGE * this.#pace.most,
    });
  }

  /** Works on a range, reading ahead of what is being written. */
  async #range(lease: Lease): Promise<void> {
    const pages = this.#pagesOf(lease);
    let writing: Promise<boolean> = Promise.resolve(true);
    try {
      for await (const page of pages) {
        if (!(await writing)) return;
        if (!(await this.#mayWrite(lease, page))) break;
        writing = this.#write(lease, page);
        // A synchronous driver never waits for anything: signals and the application need their turn.
        await nextTurn();
      }
      if (!(await writing)) return;
      if (this.#aborted) await this.#context.store.release(lease);
      else await this.#context.store.finish(lease);
    } finally {
      await Promise.allSettled([writing]);
    }
  }

  /** The pages of a range, worked on, with a few of them under way. */
  async *#pagesOf({ pass, after, until }: Lease): AsyncGenerator<WorkedPage> {
    const { database, pagesAhead } = this.#context;
    const underWay: Promise<WorkedPage>[] = [];
    let last = after;
    let rows: StoredRow[] | undefined;
    try {
      while (rows?.length !== 0 || underWay.length > 0) {
        if (rows?.length !== 0) {
          const limit = this.#pace.rows;
          const condition = this.#condition(pass);
          rows = await database.readPage(this.#work.table, {
            after: last,
            until,
            condition,
            limit,
          });
          last = rows.at(-1)?.key;
          if (rows.length > 0) underWay.push(this.#pages.of(rows));
        }
        const next =
          underWay.length >= pagesAhead || rows.length === 0 ? underWay.shift() : undefined;
        if (next !== undefined) yield await next;
      }
    } finally {
      await Promise.allSettled(underWay);
    }
  }

  /** Waits until the page may be written. False when the run is to end first. */
  async #mayWrite(lease: Lease, { rows }: WorkedPage): Promise<boolean> {
    const { store, options } = this.#context;
    await this.#pace.wait(rows, options.signal);
    while (!this.#aborted && (await this.#isPaused())) {
      await store.renew(lease);
      await sleep(POLL_MS, options.signal);
    }
    return !this.#aborted;
  }

  async #isPaused(): Promise<boolean> {
    const { database, options } = this.#context;
    if (await options.pauseWhile?.()) return true;
    if (options.maxReplicaLagMs === undefined) return false;
    return (await database.replicaLagMs()) > options.maxReplicaLagMs;
  }

  /** False when the lease was lost: another worker has the range, and does it from the checkpoint on. */
  async #write(lease: Lease, page: WorkedPage): Promise<boolean> {
    const { counts, options } = this.#context;
    const start = performance.now();
    const result = await this.#writer.write(page.changes, lease, page.last);
    if (result === undefined) return false;
    this.#pace.took(performance.now() - start);

    const failures = [...page.failures, ...result.failures];
    failures.forEach((failure) => {
      counts.fail(failure);
    });
    counts.changed += result.written;
    if (lease.pass <= this.#passesBefore) {
      counts.read(page.rows, page.rows - page.changes.length - page.failures.length);
    }
    options.onProgress?.(counts.progress(this.#work.table.metadata.name));
    return true;
  }
}
