import { randomBytes } from 'node:crypto';
import type { DataSource, EntitySchema, ObjectLiteral, QueryRunner } from 'typeorm';
import { ConfigurationError, RunPlanError } from '../errors';
import { escapedTable } from '../typeorm/escaped-table';
import { RangeSchema, RunSchema } from '../typeorm/run-tables';
import type { RangeRow, RunRow } from '../typeorm/run-tables';
import { missingTables } from '../typeorm/missing-tables';
import { withConnection } from '../typeorm/with-connection';
import { conflicts, isUniqueViolation } from '../typeorm/transient-conflict';
import { LEASE_MS } from './database/lease';
import type { Lease } from './database/lease';
import type { RowKey } from './database/row';
import { keyFromText, keyToText } from './database/row';
import type { RunDatabase } from './database/run-database';
import { endWorker, isDeadHere, newWorker } from './worker-identity';

/** What a run is known by. */
export interface RunIdentity {
  readonly mode: string;
  readonly tablePath: string;
  readonly scope: string;
  readonly structure: string;
}

/** What a worker may do next. */
export type Claim =
  | { readonly kind: 'range'; readonly lease: Lease }
  /** Other workers have what is left of the pass. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'passOver'; readonly changed: number; readonly lost: number };

/** The checkpoints of runs, shared by all workers through the database. */
export class RunStore {
  readonly #dataSource: DataSource;
  readonly #database: RunDatabase;
  readonly #owner = newWorker();

  constructor(dataSource: DataSource, database: RunDatabase) {
    this.#dataSource = dataSource;
    this.#database = database;
  }

  /** Ends the part of this worker: ranges that it could not give back are free for others here. */
  close(): void {
    endWorker(this.#owner);
  }

  /** @throws {@link ConfigurationError} when the tables are missing */
  async requireTables(): Promise<void> {
    const paths = [RunSchema, RangeSchema].map(
      (schema) => this.#dataSource.getMetadata(schema).tablePath,
    );
    const [missing] = await missingTables(this.#dataSource, paths);
    if (missing !== undefined) throw tableMissing(missing);
  }

  /**
   * Begins a run, or joins the one that is under way or was interrupted.
   *
   * @throws {@link RunPlanError} when that one is of another structure
   */
  async open(
    identity: RunIdentity,
    restart: boolean,
  ): Promise<{ readonly run: RunRow; readonly resumed: boolean }> {
    const found = await this.#running(identity);
    if (found !== undefined && restart) await this.end(found);
    else if (found !== undefined) {
      if (found.structure !== identity.structure) throw otherStructure(found);
      return { run: found, resumed: true };
    }
    const run: RunRow = {
      ...identity,
      id: randomBytes(16).toString('hex'),
      pass: 0,
      state: 'running',
      startedAt: new Date().toISOString(),
      endedAt: null,
    };
    if (await this.#insert(RunSchema, run)) return { run, resumed: false };
    return this.open(identity, false);
  }

  /** The run, also one that has ended. */
  async find(id: string): Promise<RunRow | undefined> {
    const run = await this.#with((runner) => runner.manager.findOneBy(RunSchema, { id }));
    return run ?? undefined;
  }

  /** The pass that all workers are in; `undefined` when the run has ended. */
  async pass({ id }: RunRow): Promise<number | undefined> {
    const run = await this.find(id);
    return run?.state === 'running' ? run.pass : undefined;
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
      // All ranges go when the run ends: the first of a pass is cut only while there is one.
      if (last === null && (await this.pass(run)) !== pass) return { kind: 'wait' };
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

  /** Moves all workers on to the next pass. */
  async nextPass({ id }: RunRow, from: number): Promise<void> {
    await this.#with((runner) =>
      runner.manager.update(RunSchema, { id, pass: from }, { pass: from + 1 }),
    );
  }

  /** False when another worker has ended the run. */
  async end({ id }: RunRow): Promise<boolean> {
    return this.#with(async (runner) => {
      const { affected } = await runner.manager.update(
        RunSchema,
        { id, state: 'running' },
        { state: 'done', endedAt: new Date().toISOString() },
      );
      await runner.manager.delete(RangeSchema, { runId: id });
      return affected === 1;
    });
  }

  async #running({ mode, tablePath, scope }: RunIdentity): Promise<RunRow | undefined> {
    const run = await this.#with((runner) =>
      runner.manager.findOneBy(RunSchema, { mode, tablePath, scope, state: 'running' }),
    );
    return run ?? undefined;
  }

  /** The ranges that are not done, and whether they are free: let go, expired, or of a worker that has died here. */
  async #open(runId: string, pass: number): Promise<{ row: RangeRow; free: boolean }[]> {
    return this.#with(async (runner) => {
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
    return this.#with((runner) =>
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
    return (await this.#insert(RangeSchema, row)) ? this.#take(row) : undefined;
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
    const totals = await this.#with((runner) =>
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
    const { affected } = await this.#with((runner) =>
      runner.manager.update(RangeSchema, { runId, pass, seq, fence }, set),
    );
    return affected === 1;
  }

  async #insert<T extends ObjectLiteral>(schema: EntitySchema<T>, row: T): Promise<boolean> {
    try {
      await this.#with((runner) => runner.manager.insert(schema, row));
      return true;
    } catch (error) {
      if (isUniqueViolation(error)) return false;
      throw error;
    }
  }

  #with<T>(work: (runner: QueryRunner) => Promise<T>): Promise<T> {
    return conflicts.execute(() => withConnection(this.#dataSource, undefined, work));
  }
}

type Changes = Partial<Omit<RangeRow, 'leaseUntil'>> & {
  leaseUntil?: number | (() => string);
};

function tableMissing(table: string): ConfigurationError {
  return new ConfigurationError(
    `Table ${table}, which keeps the checkpoints of runs, does not exist. ` +
      'Add fieldEncryptionMigrations to the migrations of the DataSource and run them, or run `field-encryption init`.',
  );
}

function otherStructure({ mode, tablePath, startedAt }: RunRow): RunPlanError {
  return new RunPlanError(
    `An unfinished ${mode} of ${tablePath}, begun ${startedAt}, was of other columns or another primary key, ` +
      'so its checkpoint means nothing now. Start anew with `--restart` (option `restart`).',
  );
}
