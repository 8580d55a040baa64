import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { DataSource } from 'typeorm';

import { RangeSchema } from '../../typeorm/tables/run-tables';
import type { RangeRow, RunRow } from '../../typeorm/tables/run-tables';
import { escapedTable } from '../../typeorm/connection/sql-dialect';
import { keyToText, LEASE_MS } from '../database/row';
import type { Lease, RowKey } from '../database/row';
import type { RunDatabase } from '../database/run-database';
import type { WorkTable } from '../database/work-table';

import { addRow, MAX_COUNT, rangeOf, unreadableRange, withRunTables } from './run-store';
import type { RunStore, StoredRange } from './run-store';

/** The workers of this process. */
const workersHere = new Set<string>();

/** Names a worker of this process: by host, process and a random part. */
function newWorker(): string {
  const name = `${hostname()}:${String(process.pid)}:${randomBytes(6).toString('hex')}`;
  workersHere.add(name);
  return name;
}

/** Says that a worker of this process is no more. */
function endWorker(name: string): void {
  workersHere.delete(name);
}

/** What is no more, of this process or another one of this machine, will not renew its lease. */
function isDeadHere(owner: string): boolean {
  const [, host, pid] = /^(.*):(\d+):[0-9a-f]+$/.exec(owner) ?? [];
  if (host !== hostname()) return false;
  if (Number(pid) === process.pid) return !workersHere.has(owner);
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as { code?: unknown }).code === 'ESRCH';
  }
}

/** What a worker may do next. */
export type Claim =
  | { readonly kind: 'range'; readonly lease: Lease }
  /** Other workers have what is left of the pass. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'passOver'; readonly changed: number; readonly lost: number };

/** A pass of a run over a table, of which ranges are claimed. */
interface PassOfRun {
  readonly run: RunRow;
  readonly pass: number;
  readonly table: WorkTable;
  /** Gives the primary key of the last row of a range that begins after the given one. */
  readonly boundary: (after: RowKey | undefined) => Promise<RowKey | undefined>;
}

/** The ranges of runs with their checkpoints, which workers share out among themselves by leases. */
export class RangeStore {
  readonly #dataSource: DataSource;
  readonly #database: RunDatabase;
  readonly #runs: RunStore;
  readonly #owner = newWorker();

  constructor(dataSource: DataSource, database: RunDatabase, runs: RunStore) {
    this.#dataSource = dataSource;
    this.#database = database;
    this.#runs = runs;
  }

  /** Ends the part of this worker: ranges that it could not give back are free for others here. */
  close(): void {
    endWorker(this.#owner);
  }

  /**
   * Takes a range that nobody works on, or cuts the next one.
   *
   * @throws {@link RunPlanError} for a checkpoint that cannot be read
   */
  async claim(claimed: PassOfRun): Promise<Claim> {
    const claim = await this.#next(claimed);
    // All ranges go when the run ends: one that was cut meanwhile would be done once more, and stay.
    if (claim.kind !== 'range' || (await this.#runs.pass(claimed.run)) !== undefined) return claim;
    await this.#drop(claim.lease);
    return { kind: 'wait' };
  }

  async #next(claimed: PassOfRun): Promise<Claim> {
    for (;;) {
      // Before the open ones: a last range that is cut in between would be neither here nor there.
      const last = await this.#last(claimed);
      const open = await this.#open(claimed);
      for (const { range } of open.filter(({ free }) => free)) {
        const lease = await this.#take(await this.#checked(range, claimed.table));
        if (lease !== undefined) return { kind: 'range', lease };
      }
      if (last?.upper === null) {
        return open.length > 0
          ? { kind: 'wait' }
          : { kind: 'passOver', ...(await this.#totals(claimed)) };
      }
      const lease = await this.#cut(claimed, last);
      if (lease !== undefined) return { kind: 'range', lease };
    }
  }

  /** Marks a range as done. False when the lease was lost. */
  finish(lease: Lease): Promise<boolean> {
    return this.#update(lease, { done: 1 });
  }

  /** Lets others have the rest of a range at once. */
  async release(lease: Lease): Promise<void> {
    await this.#update(lease, { leaseUntil: 0 });
  }

  /** Keeps a range while nothing is written. */
  renew(lease: Lease): Promise<boolean> {
    return this.#update(lease, { leaseUntil: () => `${this.#database.now} + ${String(LEASE_MS)}` });
  }

  /** The ranges that are not done, and whether they are free: let go, expired, or of a worker that has died here. */
  async #open({ run, pass }: PassOfRun): Promise<{ range: StoredRange; free: boolean }[]> {
    return withRunTables(this.#dataSource, async (runner) => {
      const { now } = this.#database;
      const { entities, raw } = await runner.manager
        .createQueryBuilder(RangeSchema, 'r', runner)
        // One that ends later than a lease taken now was written past this library.
        .addSelect(
          `CASE WHEN r.leaseUntil BETWEEN ${now} AND ${now} + ${String(LEASE_MS)} THEN 0 ELSE 1 END`,
          'expired',
        )
        .where({ runId: run.id, pass })
        // What is neither 0 nor 1 is not done either.
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
      leaseUntil: () => `${this.#database.now} + ${String(LEASE_MS)}`,
    });
    return taken ? this.#lease({ ...range, fence }) : undefined;
  }

  async #cut(
    { run, pass, table, boundary }: PassOfRun,
    last: StoredRange | undefined,
  ): Promise<Lease | undefined> {
    if (last !== undefined) await this.#check(last, 'upper', table);
    const lower = last?.upper ?? null;
    const upper = (await boundary(lower ?? undefined)) ?? null;
    const range = {
      ...{ runId: run.id, pass, seq: (last?.seq ?? 0) + 1, lower, upper, cursor: null },
      ...{ done: 0, owner: this.#owner, fence: 0, leaseUntil: 0, changed: 0, lost: 0 },
    };
    const row = { ...range, lower: textOf(lower), upper: textOf(upper) };
    return (await addRow(this.#dataSource, RangeSchema, row)) ? this.#take(range) : undefined;
  }

  /**
   * The range, where its checkpoint can be one of the table: rows that come after something else would
   * be left out, and be taken for done.
   */
  async #checked(range: StoredRange, table: WorkTable): Promise<StoredRange> {
    for (const column of ['lower', 'cursor', 'upper'] as const) {
      await this.#check(range, column, table);
    }
    return range;
  }

  async #check(
    range: StoredRange,
    column: 'lower' | 'cursor' | 'upper',
    table: WorkTable,
  ): Promise<void> {
    const key = range[column];
    const cause = key === null ? undefined : await this.#database.keyProblem(table, key);
    if (cause !== undefined) throw unreadableRange(range, { column: `${column}_key`, cause });
  }

  async #drop({ runId, pass, seq, fence }: Lease): Promise<void> {
    await withRunTables(this.#dataSource, (runner) =>
      runner.manager.delete(RangeSchema, { runId, pass, seq, fence }),
    );
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

  /** What the workers wrote and lost, over all ranges. */
  async #totals({ run, pass }: PassOfRun): Promise<{ changed: number; lost: number }> {
    return withRunTables(this.#dataSource, async (runner) => {
      const ranges = runner.manager
        .createQueryBuilder(RangeSchema, 'r', runner)
        .where({ runId: run.id, pass });
      // SQLite adds a text up as 0, by which a pass would seem to have had nothing to do.
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

function textOf(key: RowKey | null): string | null {
  return key === null ? null : keyToText(key);
}

type Changes = Partial<Omit<RangeRow, 'leaseUntil'>> & {
  leaseUntil?: number | (() => string);
};
