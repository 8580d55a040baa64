import type { DataSource } from 'typeorm';

import { escapedTable } from '../../typeorm/dialect/escaped-table';
import { RangeSchema } from '../../typeorm/tables/run-tables';
import type { RangeRow, RunRow } from '../../typeorm/tables/run-tables';
import { keyToText, LEASE_MS } from '../database/row';
import type { Lease, RowKey } from '../database/row';
import type { RunDatabase } from '../database/run-database';
import type { WorkTable } from '../database/work-table';

import { addRow, MAX_COUNT, rangeOf, unreadableRange, withRunTables } from './run-store';
import type { RunStore, StoredRange } from './run-store';
import { endWorker, isDeadHere, newWorker } from './worker-name';

/** The answer to a worker that asks for a range. */
export type Claim =
  | { readonly kind: 'range'; readonly lease: Lease }
  /** Other workers have what is left of the pass. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'passDone'; readonly changed: number; readonly lost: number };

/** A pass of a run over a table, of which ranges are claimed. */
interface PassOfRun {
  readonly run: RunRow;
  readonly pass: number;
  /** Left out for work that is leased as a whole. */
  readonly table?: WorkTable;
  /** Finds the primary key of the last row of a range that begins after the given one. */
  readonly boundary: (after: RowKey | undefined) => Promise<RowKey | undefined>;
}

/** A store of the ranges of runs and their checkpoints, which workers share by leases. */
export class RangeStore {
  readonly #dataSource: DataSource;
  readonly #database: RunDatabase;
  readonly #runs: RunStore;
  readonly #owner = newWorker();
  /** SQL for the end of a lease taken now. */
  readonly #leaseEnd = (): string => `${this.#database.now} + ${String(LEASE_MS)}`;

  constructor(dataSource: DataSource, database: RunDatabase, runs: RunStore) {
    this.#dataSource = dataSource;
    this.#database = database;
    this.#runs = runs;
  }

  /** Ends this worker: ranges that it could not release are free for others of this machine. */
  close(): void {
    endWorker(this.#owner);
  }

  /**
   * Leases a range that nobody works on, or cuts the next one off the table.
   *
   * @throws {@link RunPlanError} for a checkpoint that cannot be read
   */
  async claim(claimed: PassOfRun): Promise<Claim> {
    const claim = await this.#next(claimed);
    // The end of a run deletes its ranges: one that was cut meanwhile would be done again, and stay.
    if (claim.kind !== 'range' || (await this.#runs.pass(claimed.run)) !== undefined) return claim;
    const { runId, pass, seq, fence } = claim.lease;
    await withRunTables(this.#dataSource, (runner) =>
      runner.manager.delete(RangeSchema, { runId, pass, seq, fence }),
    );
    return { kind: 'wait' };
  }

  async #next(claimed: PassOfRun): Promise<Claim> {
    for (;;) {
      // Before the open ones: a range that is cut in between would be missed by both queries.
      const last = await this.#last(claimed);
      const open = await this.#open(claimed);
      for (const { range } of open.filter(({ free }) => free)) {
        await this.#check(range, claimed.table);
        const lease = await this.#take(range);
        if (lease !== undefined) return { kind: 'range', lease };
      }
      if (last?.upper === null) {
        return open.length > 0
          ? { kind: 'wait' }
          : { kind: 'passDone', ...(await this.#totals(claimed)) };
      }
      const lease = await this.#cut(claimed, last);
      if (lease !== undefined) return { kind: 'range', lease };
    }
  }

  /** Whether a worker that may still be alive has a range of the current pass. */
  async areLeased(run: RunRow): Promise<boolean> {
    const open = await this.#open({ run, pass: run.pass });
    return open.some(({ free }) => !free);
  }

  /** Returns who has leased the last range of a run; undefined where it is free. */
  async holder(run: RunRow): Promise<{ readonly owner: string; readonly until: Date } | undefined> {
    const [last] = (await this.#open({ run, pass: run.pass }))
      .filter(({ free }) => !free)
      .slice(-1);
    return last && { owner: last.range.owner, until: new Date(last.range.leaseUntil) };
  }

  /** Marks a range as done. Returns false if the lease was lost. */
  finish(lease: Lease): Promise<boolean> {
    return this.#update(lease, { done: 1 });
  }

  /** Ends a lease, so that others can have the rest of the range at once. */
  async release(lease: Lease): Promise<void> {
    await this.#update(lease, { leaseUntil: 0 });
  }

  /** Keeps a lease while nothing is written. */
  renew(lease: Lease): Promise<boolean> {
    return this.#update(lease, { leaseUntil: this.#leaseEnd });
  }

  /** Finds the ranges that are not done, and whether they are free: expired, or of a worker that is gone. */
  async #open({
    run,
    pass,
  }: Pick<PassOfRun, 'run' | 'pass'>): Promise<{ range: StoredRange; free: boolean }[]> {
    return withRunTables(this.#dataSource, async (runner) => {
      const { entities, raw } = await runner.manager
        .createQueryBuilder(RangeSchema, 'r', runner)
        // A lease that ends later than one taken now was not written by this library.
        .addSelect(
          `CASE WHEN r.leaseUntil BETWEEN ${this.#database.now} AND ${this.#leaseEnd()} THEN 0 ELSE 1 END`,
          'expired',
        )
        .where({ runId: run.id, pass })
        // Anything but 1 is not done.
        .andWhere('COALESCE(r.done, 0) <> 1')
        .orderBy('r.seq')
        .getRawAndEntities<{ expired: number | string }>();
      return entities.map(rangeOf).map((range, i) => ({
        range,
        free: Number(raw[i]?.expired) === 1 || isDeadHere(range.owner),
      }));
    });
  }

  async #last({ run, pass }: PassOfRun): Promise<StoredRange | undefined> {
    const row = await withRunTables(this.#dataSource, (runner) =>
      runner.manager.findOne(RangeSchema, {
        where: { runId: run.id, pass },
        order: { seq: 'DESC' },
      }),
    );
    return row === null ? undefined : rangeOf(row);
  }

  async #take(range: StoredRange): Promise<Lease | undefined> {
    const fence = range.fence + 1;
    const taken = await this.#update(range, {
      owner: this.#owner,
      fence,
      leaseUntil: this.#leaseEnd,
    });
    return taken ? this.#lease({ ...range, fence }) : undefined;
  }

  async #cut(
    { run, pass, table, boundary }: PassOfRun,
    last: StoredRange | undefined,
  ): Promise<Lease | undefined> {
    if (last !== undefined) await this.#check(last, table, ['upper']);
    const lower = last?.upper ?? null;
    const upper = (await boundary(lower ?? undefined)) ?? null;
    const range = {
      ...{ runId: run.id, pass, seq: (last?.seq ?? 0) + 1, lower, upper, cursor: null },
      ...{ done: 0, owner: this.#owner, fence: 0, leaseUntil: 0, changed: 0, lost: 0 },
    };
    const row = { ...range, lower: keyToText(lower), upper: keyToText(upper) };
    return (await addRow(this.#dataSource, RangeSchema, row)) ? this.#take(range) : undefined;
  }

  /** Refuses a checkpoint that cannot be of the table: rows before it would be taken for done. */
  async #check(
    range: StoredRange,
    table: WorkTable | undefined,
    columns: readonly ('lower' | 'cursor' | 'upper')[] = ['lower', 'cursor', 'upper'],
  ): Promise<void> {
    for (const column of columns) {
      const key = range[column];
      if (key === null || table === undefined) continue;
      const cause = await this.#database.keyProblem(table, key);
      if (cause !== undefined) throw unreadableRange(range, { column: `${column}_key`, cause });
    }
  }

  #lease({ runId, pass, seq, fence, lower, upper, cursor }: StoredRange): Lease {
    return {
      runId,
      pass,
      seq,
      fence,
      after: cursor ?? lower ?? undefined,
      until: upper ?? undefined,
      table: escapedTable(this.#dataSource, this.#dataSource.getMetadata(RangeSchema)),
    };
  }

  /** Adds up what all workers wrote and lost in a pass. */
  async #totals({ run, pass }: PassOfRun): Promise<{ changed: number; lost: number }> {
    return withRunTables(this.#dataSource, async (runner) => {
      const ranges = runner.manager
        .createQueryBuilder(RangeSchema, 'r', runner)
        .where({ runId: run.id, pass });
      // SQLite adds up a text as 0, and the pass would seem to have had nothing to do.
      const odd = await ranges
        .clone()
        .andWhere(`NOT (${isCount('r.changed')} AND ${isCount('r.lost')})`)
        .getOne();
      if (odd !== null) rangeOf(odd);
      const totals = await ranges
        .select('SUM(r.changed)', 'changed')
        .addSelect('SUM(r.lost)', 'lost')
        .getRawOne<{ changed: number | string | null; lost: number | string | null }>();
      return { changed: Number(totals?.changed ?? 0), lost: Number(totals?.lost ?? 0) };
    });
  }

  async #update(
    { runId, pass, seq, fence }: Pick<RangeRow, 'runId' | 'pass' | 'seq' | 'fence'>,
    set: Changes,
  ): Promise<boolean> {
    const { affected } = await withRunTables(this.#dataSource, (runner) =>
      runner.manager.update(RangeSchema, { runId, pass, seq, fence }, set),
    );
    return affected === 1;
  }
}

function isCount(column: string): string {
  return `${column} BETWEEN 0 AND ${String(MAX_COUNT)}`;
}

type Changes = Partial<Omit<RangeRow, 'leaseUntil'>> & {
  leaseUntil?: number | (() => string);
};
