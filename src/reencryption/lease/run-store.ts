import { randomBytes } from 'node:crypto';
import type { DataSource, EntitySchema, ObjectLiteral, QueryRunner } from 'typeorm';

import { ConfigurationError, RunPlanError } from '../../errors';
import { missingTables, withOwnTables } from '../../typeorm/connection/table-access';
import { conflicts } from '../../typeorm/connection/transient-conflict';
import { insertUnlessPresent } from '../../typeorm/tables/insert-unless-present';
import { RangeSchema, RunSchema } from '../../typeorm/tables/run-tables';
import type { RangeRow, RunRow } from '../../typeorm/tables/run-tables';
import {
  readNumberUpTo,
  readOneOf,
  readText,
  readWholeNumber,
  StoredRow,
} from '../../typeorm/tables/stored-row';
import type { UnreadableCell } from '../../typeorm/tables/stored-row';
import { keyFromText } from '../database/row';
import type { RowKey } from '../database/row';

/** Runs `work` on the tables that workers share, again if they get in each other's way. */
export function withRunTables<T>(
  dataSource: DataSource,
  work: (runner: QueryRunner) => Promise<T>,
): Promise<T> {
  return conflicts.execute(() => withOwnTables(dataSource, undefined, work));
}

/** Adds a row to one of these tables. Returns false if another worker has added it. */
export function addRow<T extends ObjectLiteral>(
  dataSource: DataSource,
  schema: EntitySchema<T>,
  row: T,
): Promise<boolean> {
  return withRunTables(dataSource, (runner) => insertUnlessPresent(runner, schema, row));
}

/** The most passes of a run: each reads the rows again that lost a race against a writer. */
export const MAX_PASSES = 6;

/** A range and its checkpoint as a run works with them. */
export interface StoredRange extends Omit<RangeRow, 'lower' | 'upper' | 'cursor' | 'leaseUntil'> {
  /** Primary key before the first row; `null` for the beginning of the table. */
  readonly lower: RowKey | null;
  /** Primary key of the last row; `null` for the end of the table. */
  readonly upper: RowKey | null;
  /** Primary key of the last row that is done. */
  readonly cursor: RowKey | null;
  /** Milliseconds since 1970 by the clock of the database. */
  readonly leaseUntil: number;
}

/** The highest count that is read: what a run adds to it overflows no column of PostgreSQL. */
export const MAX_COUNT = 2 ** 30;
const readCounter = readNumberUpTo(MAX_COUNT);

/** @throws {@link RunPlanError} for a row that this library did not write */
function runOf(row: RunRow): RunRow {
  const stored = new StoredRow(RunSchema, row);
  const text = (property: keyof RunRow): string => stored.cell(property, readText, '');
  const run: RunRow = {
    id: text('id'),
    mode: text('mode'),
    tablePath: text('tablePath'),
    scope: text('scope'),
    structure: text('structure'),
    // From 0. The first may be over the rows of the option `first` alone.
    pass: stored.cell('pass', readNumberUpTo(MAX_PASSES), 0),
    state: stored.cell('state', readOneOf(['running', 'done']), 'done'),
    startedAt: text('startedAt'),
    endedAt: stored.nullable('endedAt', readText, null),
  };
  const [first] = stored.unreadable;
  if (first === undefined) return run;
  throw unreadable(`run ${run.id} in field_encryption_runs`, first);
}

/** @throws {@link RunPlanError} for a row that this library did not write */
export function rangeOf(row: RangeRow): StoredRange {
  const stored = new StoredRow(RangeSchema, row);
  const counter = (property: keyof RangeRow): number => stored.cell(property, readCounter, 0);
  const key = (property: keyof RangeRow): RowKey | null =>
    stored.nullable(property, (value) => keyFromText(readText(value)), null);
  const range: StoredRange = {
    runId: stored.cell('runId', readText, ''),
    pass: counter('pass'),
    seq: counter('seq'),
    lower: key('lower'),
    upper: key('upper'),
    cursor: key('cursor'),
    done: stored.cell('done', readOneOf([0, 1]), 0),
    owner: stored.cell('owner', readText, ''),
    fence: counter('fence'),
    leaseUntil: stored.cell('leaseUntil', readWholeNumber, 0),
    changed: counter('changed'),
    lost: counter('lost'),
  };
  const [first] = stored.unreadable;
  if (first === undefined) return range;
  throw unreadableRange(range, first);
}

/** The error for a checkpoint that does not tell which rows are done. */
export function unreadableRange(
  { runId, pass, seq }: Pick<RangeRow, 'runId' | 'pass' | 'seq'>,
  cell: UnreadableCell,
): RunPlanError {
  const range = `range ${String(seq)} of pass ${String(pass)} of run ${runId}`;
  return unreadable(`${range} in field_encryption_ranges`, cell);
}

function unreadable(what: string, { column, cause }: UnreadableCell): RunPlanError {
  return new RunPlanError(
    `${column} of ${what} holds something that this library does not write there; see the cause. Nobody can ` +
      'tell by it which rows are done, and none is taken for done. Put the row back as it was; or start ' +
      'anew with `--restart` (option `restart`), which reads every row again.',
    { cause },
  );
}

/** The identity of a run. */
export interface RunIdentity {
  readonly mode: string;
  readonly tablePath: string;
  readonly scope: string;
  readonly structure: string;
}

/** A store of runs, by which all workers know those under way. */
export class RunStore {
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
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
   * @throws {@link RunPlanError} when that one is of another structure, or its row cannot be read
   */
  async open(
    identity: RunIdentity,
    restart: boolean,
  ): Promise<{ readonly run: RunRow; readonly resumed: boolean }> {
    const row = await this.#running(identity);
    // Ended unread: `restart` also helps against a row that cannot be read.
    if (row !== null && restart) await this.end(row);
    else if (row !== null) {
      const found = runOf(row);
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
    if (await addRow(this.#dataSource, RunSchema, run)) return { run, resumed: false };
    return this.open(identity, false);
  }

  /**
   * Finds a run, even one that has ended.
   *
   * @throws {@link RunPlanError} if its row cannot be read
   */
  async find(id: string): Promise<RunRow | undefined> {
    const row = await withRunTables(this.#dataSource, (runner) =>
      runner.manager.findOneBy(RunSchema, { id }),
    );
    return row === null ? undefined : runOf(row);
  }

  /** Returns when the last run of a mode that was completed had been started, for each table. */
  async lastStarts(mode: string): Promise<ReadonlyMap<string, string>> {
    const { tablePath } = this.#dataSource.getMetadata(RunSchema);
    if ((await missingTables(this.#dataSource, [tablePath])).length > 0) return new Map();
    const rows = await withRunTables(this.#dataSource, (runner) =>
      runner.manager.find(RunSchema, {
        where: { mode, state: 'done' },
        order: { startedAt: 'ASC' },
      }),
    );
    return new Map(rows.map(runOf).map((run) => [run.tablePath, run.startedAt]));
  }

  /** Reads the pass that all workers are in; `undefined` if the run has ended. */
  async pass({ id }: RunRow): Promise<number | undefined> {
    const run = await this.find(id);
    return run?.state === 'running' ? run.pass : undefined;
  }

  /** Moves all workers on to the next pass. */
  async nextPass({ id }: RunRow, from: number): Promise<void> {
    await withRunTables(this.#dataSource, (runner) =>
      runner.manager.update(RunSchema, { id, pass: from }, { pass: from + 1 }),
    );
  }

  /** Ends a run and deletes its ranges. Returns false if another worker has ended it. */
  async end({ id }: RunRow): Promise<boolean> {
    return withRunTables(this.#dataSource, async (runner) => {
      const { affected } = await runner.manager.update(
        RunSchema,
        { id, state: 'running' },
        { state: 'done', endedAt: new Date().toISOString() },
      );
      await runner.manager.delete(RangeSchema, { runId: id });
      return affected === 1;
    });
  }

  #running({ mode, tablePath, scope }: RunIdentity): Promise<RunRow | null> {
    return withRunTables(this.#dataSource, (runner) =>
      runner.manager.findOneBy(RunSchema, { mode, tablePath, scope, state: 'running' }),
    );
  }
}

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
