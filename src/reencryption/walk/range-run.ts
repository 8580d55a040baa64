import { performance } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';

import { lastKey } from '../database/row';
import type { Lease, RowKey, StoredPage } from '../database/row';
import { passCondition } from '../plan/work-plan';
import type { TableWork } from '../plan/work-plan';

import { POLL_MS, sleep } from './pace';
import type { Pace } from './pace';
import { PageWork } from './page-work';
import type { WorkedPage } from './page-work';
import { PageWriter } from './page-writer';
import type { RunContext } from './run-context';

/** The part of a run that works on leased ranges of one table. */
export class RangeRun {
  readonly #context: RunContext;
  readonly #work: TableWork;
  readonly #pages: PageWork;
  readonly #writer: PageWriter;
  readonly #pace: Pace;

  constructor(context: RunContext, work: TableWork, pace: Pace) {
    const { installation, database, mode } = context;
    this.#context = context;
    this.#work = work;
    this.#pages = new PageWork({ installation, database, mode }, work.table, { isTrial: false });
    this.#writer = new PageWriter(database, work.table);
    this.#pace = pace;
  }

  get #aborted(): boolean {
    return this.#context.options.signal?.aborted ?? false;
  }

  /** Works on a range, reading ahead while a page is written. Keeps the lease when it fails. */
  async run(lease: Lease): Promise<void> {
    const pages = this.#pagesOf(lease);
    let writing: Promise<boolean> = Promise.resolve(true);
    try {
      for await (const page of pages) {
        if (!(await writing)) return;
        if (!(await this.#mayWrite(lease, page))) break;
        writing = awaitedLater(this.#write(lease, page));
        // A synchronous driver never yields: signals and the application need their turn.
        await nextTurn();
      }
      if (!(await writing)) return;
      if (this.#aborted) await this.#context.ranges.release(lease);
      else await this.#context.ranges.finish(lease);
    } finally {
      await Promise.allSettled([writing]);
    }
  }

  /** Yields the pages of a range, each worked on while the next one is read. */
  async *#pagesOf({ pass, after, until }: Lease): AsyncGenerator<WorkedPage> {
    const { database } = this.#context;
    const condition = passCondition(this.#work, pass);
    const read = (from: RowKey | undefined): Promise<StoredPage> =>
      awaitedLater(
        database.readPage(this.#work.table, {
          after: from,
          until,
          condition,
          limit: this.#pace.rows,
        }),
      );
    let reading = read(after);
    try {
      for (let page = await reading; page.rows > 0; page = await reading) {
        this.#pace.saw(page);
        reading = read(lastKey(page));
        yield await this.#pages.of(page);
      }
    } finally {
      await Promise.allSettled([reading]);
    }
  }

  /** Waits until the page may be written. Returns false if the run is to end first. */
  async #mayWrite(lease: Lease, { rows }: WorkedPage): Promise<boolean> {
    const { ranges, options } = this.#context;
    await this.#pace.wait(rows, options.signal);
    while (!this.#aborted && (await this.#isPaused())) {
      await ranges.renew(lease);
      await sleep(POLL_MS, options.signal);
    }
    return !this.#aborted;
  }

  async #isPaused(): Promise<boolean> {
    const { database, options } = this.#context;
    if (await options.pauseWhile?.()) return true;
    if (options.maxReplicaLagMs === undefined) return false;
    return ((await database.replicaLagMs?.()) ?? 0) > options.maxReplicaLagMs;
  }

  /** Returns false if the lease was lost: another worker has the range, and goes on from its checkpoint. */
  async #write(lease: Lease, page: WorkedPage): Promise<boolean> {
    const { counts, options } = this.#context;
    const start = performance.now();
    const result = await this.#writer.write(page.changes, lease, page.last);
    if (result === undefined) return false;
    this.#pace.took(performance.now() - start);

    counts.done(page, result.written, result.failures);
    options.onProgress?.(counts.progress(this.#work.table.metadata.name));
    return true;
  }
}

/** Keeps a failure before the promise is awaited from being an unhandled rejection, which ends the process. */
function awaitedLater<T>(work: Promise<T>): Promise<T> {
  work.catch(() => undefined);
  return work;
}
