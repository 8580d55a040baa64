import { randomBytes } from 'node:crypto';
import type { DataSource } from 'typeorm';
import { ConfigurationError, RunPlanError } from '../errors';
import { missingTables } from '../typeorm/missing-tables';
import { RangeSchema, RunSchema } from '../typeorm/run-tables';
import type { RunRow } from '../typeorm/run-tables';
import { addRow, withRunTables } from './run-rows';
import { runOf } from './stored-run';

/** What a run is known by. */
export interface RunIdentity {
  readonly mode: string;
  readonly tablePath: string;
  readonly scope: string;
  readonly structure: string;
}

/** The runs that are under way, which all workers know through the database. */
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
    // Whatever is in it.
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
   * The run, also one that has ended.
   *
   * @throws {@link RunPlanError} where its row cannot be read
   */
  async find(id: string): Promise<RunRow | undefined> {
    const row = await withRunTables(this.#dataSource, (runner) =>
      runner.manager.findOneBy(RunSchema, { id }),
    );
    return row === null ? undefined : runOf(row);
  }

  /** The pass that all workers are in; `undefined` when the run has ended. */
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

  /** False when another worker has ended the run. */
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
