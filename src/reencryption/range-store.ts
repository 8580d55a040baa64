import type { DataSource } from 'typeorm';
import { escapedTable } from '../typeorm/escaped-table';
import { RangeSchema } from '../typeorm/run-tables';
import type { RangeRow, RunRow } from '../typeorm/run-tables';
import { LEASE_MS } from './database/lease';
import type { Lease } from './database/lease';
import type { RowKey } from './database/row';
import { keyFromText, keyToText } from './database/row';
import type { RunDatabase } from './database/run-database';
import { addRow, withRunTables } from './run-rows';
import type { RunStore } from './run-store';
import { endWorker, isDeadHere, newWorker } from './worker-identity';

/** What a worker may do next. */
export type Claim =
  | { readonly kind: 'range'; readonly lease: Lease }
  /** Other workers have what is left of the pass. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'passOver'; readonly changed: number; readonly lost: number };

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
   * @param boundary - primary key of the last row of a range that begins after the given one.
   */
  async claim(
    run: RunRow,
    pass: number,
    boundary: (after: RowKey | undefined) => Promise<RowKey | undefined>,
  ): Promise<Claim> {
    const claim = await this.#next(run, pass, boundary);
    // All ranges go when the run ends: one that was cut meanwhile would be done once more, and stay.
    if (claim.kind !== 'range' || (await this.#runs.pass(run)) !== undefined) return claim;
    await this.#drop(claim.lease);
    return { kind: 'wait' };
  }

  async #next(
    run: RunRow,
    pass: number,
    boundary: (after: RowKey | undefined) => Promise<RowKey | undefined>,
  ): Promise<Claim> {
    for (;;) {
      // Before the open ones: a last range that is cut in between would be neither here nor there.
      const last = await this.#last(run.id, pass);
      const open = await this.#open(run.id, pass);
      for (const { row } of open.filter(({ free }) => free)) {
        const lease = await this.#take(row);
        if (lease !== undefined) return { kind: 'range', lease };
      }
      if (last !== null && last.upper === null) {
        return open.length > 0
          ? { kind: 'wait' }
          : { kind: 'passOver', ...(await this.#totals(run.id, pass)) };
      }
      const lease = await this.#cut(run.id, pass, last, boundary);
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
  async #open(runId: string, pass: number): Promise<{ row: RangeRow; free: boolean }[]> {
    return withRunTables(this.#dataSource, async (runner) => {
      const { entities, raw } = await runner.manager
        .createQueryBuilder(RangeSchema, 'r', runner)
        .addSelect(`CASE WHEN r.leaseUntil < ${this.#database.now} THEN 1 ELSE 0 END`, 'expired')
        .where({ runId, pass, done: 0 })
        .orderBy('r.seq')
        .getRawAndEntities<{ expired: number | string }>();
      return entities.map((row, i) => ({
        row,
        free: Number(raw[i]?.expired) === 1 || isDeadHere(row.owner),
      }));
    });
  }

  async #last(runId: string, pass: number): Promise<RangeRow | null> {
    return withRunTables(this.#dataSource, (runner) =>
      runner.manager.findOne(RangeSchema, { where: { runId, pass }, order: { seq: 'DESC' } }),
    );
  }

  async #take(row: RangeRow): Promise<Lease | undefined> {
    const fence = row.fence + 1;
    const taken = await this.#update(row, {
      owner: this.#owner,
      fence,
      leaseUntil: () => `${this.#database.now} + ${String(LEASE_MS)}`,
    });
    return taken ? this.#lease({ ...row, fence }) : undefined;
  }

  async #cut(
    runId: string,
    pass: number,
    last: RangeRow | null,
    boundary: (after: RowKey | undefined) => Promise<RowKey | undefined>,
  ): Promise<Lease | undefined> {
    const lower = last?.upper ?? null;
    const until = await boundary(lower === null ? undefined : keyFromText(lower));
    const row: RangeRow = {
      runId,
      pass,
      seq: (last?.seq ?? 0) + 1,
      lower,
      upper: until === undefined ? null : keyToText(until),
      cursor: null,
      done: 0,
      owner: this.#owner,
      fence: 0,
      leaseUntil: 0,
      changed: 0,
      lost: 0,
    };
    return (await addRow(this.#dataSource, RangeSchema, row)) ? this.#take(row) : undefined;
  }

  async #drop({ runId, pass, seq, fence }: Lease): Promise<void> {
    await withRunTables(this.#dataSource, (runner) =>
      runner.manager.delete(RangeSchema, { runId, pass, seq, fence }),
    );
  }

  #lease({ runId, pass, seq, fence, lower, upper, cursor }: RangeRow): Lease {
    const after = cursor ?? lower;
    return {
      runId,
      pass,
      seq,
      fence,
      after: after === null ? undefined : keyFromText(after),
      until: upper === null ? undefined : keyFromText(upper),
      table: escapedTable(this.#dataSource, this.#dataSource.getMetadata(RangeSchema)),
    };
  }

  async #totals(runId: string, pass: number): Promise<{ changed: number; lost: number }> {
    const totals = await withRunTables(this.#dataSource, (runner) =>
      runner.manager
        .createQueryBuilder(RangeSchema, 'r', runner)
        .select('SUM(r.changed)', 'changed')
        .addSelect('SUM(r.lost)', 'lost')
        .where({ runId, pass })
        .getRawOne<{ changed: number | string | null; lost: number | string | null }>(),
    );
    return { changed: Number(totals?.changed ?? 0), lost: Number(totals?.lost ?? 0) };
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

type Changes = Partial<Omit<RangeRow, 'leaseUntil'>> & {
  leaseUntil?: number | (() => string);
};
