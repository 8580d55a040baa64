import type { RunRow } from '../../typeorm/tables/run-tables';
import type { Lease, RowKey } from '../database/row';
import type { Claim } from '../lease/range-store';
import { MAX_PASSES } from '../lease/run-store';
import { passesBefore, rangeCondition } from '../plan/work-plan';
import type { TableWork } from '../plan/work-plan';

import { paceOf, POLL_MS, sleep } from './pace';
import type { Pace } from './pace';
import { RangeRun } from './range-run';
import type { RunContext } from './run-context';
import { RunRecords } from './run-records';

/** Length of a range in pages: as much as a dead worker leaves behind. */
const PAGES_PER_RANGE = 10;

/** Why a worker gets no further range. */
type Ending = Exclude<Claim, { readonly kind: 'range' }>;

/** A run over one table, which any number of workers may share. */
export class TableRun {
  readonly #context: RunContext;
  readonly #work: TableWork;
  readonly #ranges: RangeRun;
  readonly #pace: Pace;
  readonly #records: RunRecords;
  #rangesLeft = Number.POSITIVE_INFINITY;
  /** Aborted when one of several ranges fails, so that the others stop after their page. */
  readonly #failure = new AbortController();
  /** Rows that the last pass left, if this worker saw its end. */
  #left: number | undefined;

  constructor(context: RunContext, work: TableWork) {
    this.#context = context;
    this.#work = work;
    this.#pace = paceOf(context, work.table);
    this.#records = new RunRecords(context.installation, context.store);
    const { signal = this.#failure.signal } = context.options;
    const options = { ...context.options, signal: AbortSignal.any([signal, this.#failure.signal]) };
    this.#ranges = new RangeRun({ ...context, options }, work, this.#pace);
  }

  /** Begins the run, or joins the one that is under way, and works until it is over. */
  async run(): Promise<void> {
    const run = await this.open();
    try {
      await this.join(run);
    } finally {
      await this.#records.left(run);
    }
    this.#context.counts.endTable();
  }

  /** Begins the run, or finds the one that is under way, without working on it. */
  async open(): Promise<RunRow> {
    const { store, ranges, mode, options, counts } = this.#context;
    const { table, scope, structure } = this.#work;
    const identity = { mode: mode.name, tablePath: table.metadata.tablePath, scope, structure };
    const { run, resumed } = await store.open(identity, options.restart ?? false);
    if (resumed) counts.resumed = true;
    await this.#records.started(run, await ranges.areLeased(run));
    return run;
  }

  /**
   * Works in a run that is under way until it is over.
   *
   * @param maxRanges - stops after so many ranges, or when other workers have all that is left.
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
    // Others may have gone through all rows again since, and found their failures.
    const last = await store.find(run.id);
    if (last !== undefined) counts.beginPass(last.pass);
  }

  /** Estimates how many ranges there are to share. */
  async countRanges(): Promise<number> {
    const { database } = this.#context;
    const { table, pending } = this.#work;
    const rowsInRange = PAGES_PER_RANGE * this.#pace.most;
    let ranges = 0;
    for (let pass = 0; pass <= passesBefore(this.#work); pass++) {
      const [, rows] = await database.count(table, rangeCondition(this.#work, pass) || 'TRUE');
      // If only reading tells that all is done, everything is read twice.
      const times = pending === undefined && pass === passesBefore(this.#work) ? 2 : 1;
      ranges += times * Math.ceil(rows / rowsInRange);
    }
    return ranges;
  }

  get #isEnough(): boolean {
    return this.#aborted || this.#failure.signal.aborted || this.#rangesLeft <= 0;
  }

  get #aborted(): boolean {
    return this.#context.options.signal?.aborted ?? false;
  }

  /** Works on ranges until the pass is over for all workers, then ends the run or begins another pass. */
  async #pass(run: RunRow, pass: number): Promise<void> {
    const { store } = this.#context;
    while (!this.#isEnough) {
      const claim = await this.#workOnRanges(run, pass);
      if (claim?.kind === 'passDone') {
        await this.#afterPass(run, pass, claim);
        return;
      }
      if (claim === undefined || (await store.pass(run)) !== pass) return;
      if (Number.isFinite(this.#rangesLeft)) this.#rangesLeft = 0;
      else await sleep(POLL_MS, this.#context.options.signal);
    }
  }

  /**
   * Works on several ranges at a time, so that the database writes a page of one while a page of
   * another is encrypted.
   *
   * @returns why there are no more ranges; `undefined` when this worker is to stop.
   */
  async #workOnRanges(run: RunRow, pass: number): Promise<Ending | undefined> {
    const concurrency = Math.min(this.#context.database.concurrency, this.#rangesLeft);
    const workers = Array.from({ length: concurrency }, () => this.#workOnNextRanges(run, pass));
    try {
      const endings = await Promise.all(workers);
      return endings.find((ending) => ending?.kind === 'passDone') ?? endings[0];
    } catch (error) {
      this.#failure.abort();
      await Promise.allSettled(workers);
      throw error;
    }
  }

  /** Works on one range after the other; several of these run concurrently. */
  async #workOnNextRanges(run: RunRow, pass: number): Promise<Ending | undefined> {
    const { ranges } = this.#context;
    while (!this.#isEnough) {
      this.#rangesLeft -= 1;
      const claim = await ranges.claim({
        run,
        pass,
        table: this.#work.table,
        boundary: (after) => this.#boundary(pass, after),
      });
      if (claim.kind !== 'range') {
        this.#rangesLeft += 1;
        return claim;
      }
      await this.#workOn(claim.lease);
    }
    return undefined;
  }

  async #workOn(lease: Lease): Promise<void> {
    try {
      await this.#ranges.run(lease);
    } catch (error) {
      // Before the release, or a concurrent worker takes this very range and fails on it, too.
      this.#failure.abort();
      // If it is the database that has failed, the lease expires by itself.
      await this.#context.ranges.release(lease).catch(() => undefined);
      throw error;
    }
  }

  /** Begins another pass, or ends the run when a pass found nothing to do. */
  async #afterPass(
    run: RunRow,
    pass: number,
    { changed, lost }: { readonly changed: number; readonly lost: number },
  ): Promise<void> {
    const { store, counts, options } = this.#context;
    const passes = pass + 1 - passesBefore(this.#work);
    const isIdle = changed === 0 && lost === 0;
    if (passes > 0) this.#left = await this.#countLeft();
    const isOver = passes > 0 && (isIdle || passes >= MAX_PASSES || this.#left === 0);
    if (!isOver) {
      this.#left = undefined;
      // Rows that the application has locked or keeps changing need some time.
      if (lost > 0) await sleep(POLL_MS, options.signal);
      await store.nextPass(run, pass);
      return;
    }
    await this.#records.ends(run);
    if (!(await store.end(run))) return;
    if (passes >= MAX_PASSES) counts.conflicts += lost;
    await this.#records.done(run);
  }

  /** Counts the rows that are still to be done; `undefined` if only reading can tell. */
  async rowsLeft(): Promise<number | undefined> {
    return this.#left ?? this.#countLeft();
  }

  async #countLeft(): Promise<number | undefined> {
    const { table, pending } = this.#work;
    if (pending === undefined) return undefined;
    const [, left] = await this.#context.database.count(table, pending);
    return left;
  }

  #boundary(pass: number, after: RowKey | undefined): Promise<RowKey | undefined> {
    return this.#context.database.boundary(this.#work.table, {
      after,
      until: undefined,
      condition: rangeCondition(this.#work, pass),
      limit: PAGES_PER_RANGE * this.#pace.most,
    });
  }
}
