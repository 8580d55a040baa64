import type { DataSource, QueryRunner } from 'typeorm';
import { Query } from 'typeorm/driver/Query.js';

/** A query whose result, if there is any, forbids the rest of the migration. */
export interface Guard {
  readonly query: string;
  readonly message: string;
}

/** A statement of a migration. */
export interface MigrationStep {
  readonly sql: string;
  /** A query without whose result the statement is left out; `undefined` for one that always runs. */
  readonly when?: string | undefined;
}

/** A migration that is yet to be written. */
export interface MigrationDraft {
  /** Tells the migrations of one command apart; appended to the name. */
  readonly suffix: string;
  /** Whether it has to run outside a transaction. */
  readonly withoutTransaction: boolean;
  readonly up: readonly MigrationStep[];
  readonly down: readonly MigrationStep[];
  /** Checked before `up` changes anything. */
  readonly upGuards: readonly Guard[];
  /** Checked before `down` changes anything. */
  readonly downGuards: readonly Guard[];
}

/** The migrations that a command writes, and notes for their reader. */
export interface MigrationPlan {
  readonly drafts: readonly MigrationDraft[];
  readonly notes: readonly string[];
}

/**
 * Plans migrations with a query runner that records statements instead of executing them: that of the script,
 * and the one that `plan` returns, which follows it.
 */
export async function planMigrations(
  dataSource: DataSource,
  plan: (runner: QueryRunner, script: MigrationScript) => Promise<MigrationDraft | undefined>,
): Promise<MigrationPlan> {
  const runner = dataSource.createQueryRunner('master');
  try {
    runner.enableSqlMemory();
    const script = new MigrationScript(runner);
    const second = await plan(runner, script);
    const drafts = [script.draft(), second].filter((draft) => draft !== undefined);
    return { drafts, notes: script.notes };
  } finally {
    runner.disableSqlMemory();
    await runner.release();
  }
}

/**
 * The statements of a migration in both directions: TypeORM's own, from a query runner that records instead of
 * executing, and others among them.
 */
export class MigrationScript {
  readonly notes: string[] = [];
  readonly #upGuards: Guard[] = [];
  readonly #downGuards: Guard[] = [];
  readonly #runner: QueryRunner;

  /** The runner must be in SQL memory mode; see `enableSqlMemory()`. */
  constructor(runner: QueryRunner) {
    this.#runner = runner;
  }

  /** Adds a statement, and those that undo it. */
  step(up: string | MigrationStep, ...down: readonly (string | MigrationStep)[]): void {
    const memory = this.#runner.getMemorySql();
    memory.upQueries.push(new StepQuery(up));
    memory.downQueries.push(...[...down].reverse().map((query) => new StepQuery(query)));
  }

  /** Makes both directions refuse what a query finds. */
  guard(guard: Guard): void {
    this.#upGuards.push(guard);
    this.guardDown(guard);
  }

  guardDown(guard: Guard): void {
    this.#downGuards.push(guard);
  }

  /** Returns the migration; `undefined` if there is nothing to do. */
  draft(): MigrationDraft | undefined {
    const { upQueries, downQueries } = this.#runner.getMemorySql();
    if (upQueries.length === 0) return undefined;
    return {
      suffix: '',
      withoutTransaction: false,
      up: upQueries.map(stepOf),
      down: downQueries.map(stepOf).reverse(),
      upGuards: this.#upGuards,
      downGuards: this.#downGuards,
    };
  }
}

/** A statement that a query runner remembers, with what it depends on. */
class StepQuery extends Query {
  readonly when: string | undefined;

  constructor(step: string | MigrationStep) {
    super(typeof step === 'string' ? step : step.sql);
    this.when = typeof step === 'string' ? undefined : step.when;
  }
}

function stepOf(query: Query): MigrationStep {
  const when = query instanceof StepQuery ? query.when : undefined;
  return { sql: query.query, when };
}
