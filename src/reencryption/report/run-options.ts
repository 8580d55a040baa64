import {
  ArrayNotEmpty,
  IsArray,
  IsBoolean,
  IsInt,
  IsObject,
  IsOptional,
  IsPositive,
  IsString,
} from 'class-validator';
import type { EntityTarget, ObjectLiteral } from 'typeorm';

import { RunPlanError } from '../../errors';
import type { ScopeIds } from '../../keys/scopes/scope-context';
import { defined, optionProblems } from '../../typeorm/declare/option-rules';

import type { RunProgress } from './run-report';

/** Default of {@link RunOptions.batchSize}. */
export const DEFAULT_PAGE_ROWS = 2000;

/** Options of a run over the rows; all of them optional. */
export interface RunOptions {
  /** Entities to work on, in this order. Defaults to all with encrypted columns. */
  entities?: readonly EntityTarget<ObjectLiteral>[];
  /** Properties (`'Entity.property'`) to work on. Defaults to all that the mode applies to. */
  columns?: readonly string[];
  /**
   * Rows to do before the others of their table: an SQL condition on plain columns for each entity,
   * such as `{ Patient: "status = 'active'" }`. It goes into statements as it is.
   */
  first?: Readonly<Record<string, string>>;
  /**
   * Rows to work on: an SQL condition on plain columns for each entity, such as
   * `{ Patient: 'tenant_id = :tenant' }`. It goes into statements as it is, but for its parameters.
   * Without `entities` and `columns`, the run is about these entities alone; with them, an entity that
   * has no condition here is done whole. Defaults to all rows.
   */
  where?: Readonly<Record<string, string>>;
  /**
   * Scopes to work on, such as `[{ tenant: 42 }]`: only rows that are theirs by the column of the scope, or by the
   * key of a value. Leaves properties without keys of their kinds out. Defaults to all rows.
   */
  scopes?: readonly ScopeIds[];
  /** The value of each `:name` in `where`, which is bound. */
  parameters?: Readonly<Record<string, string | number>>;
  /** The most rows in a page: one read and one write. Pages shrink while the database is slow. Defaults to 2000. */
  batchSize?: number;
  /** The most rows a second. Defaults to no limit. */
  maxRate?: number;
  /** Id of the data key that rows move to; refused unless active. Defaults to the active key. */
  targetKey?: string;
  /** Whether to forget how far an unfinished run came instead of resuming it. Defaults to `false`. */
  restart?: boolean;
  /** Called before each page is written; the run waits while it returns `true`. */
  pauseWhile?: () => boolean | Promise<boolean>;
  /** Milliseconds that a PostgreSQL replica may lag; the run waits while one lags further. */
  maxReplicaLagMs?: number;
  /** Ends the run after the page under way; what is done stays done. */
  signal?: AbortSignal;
  /** Called after every page. */
  onProgress?: (progress: RunProgress) => void;
  /** Whether to count what would change and change nothing. Defaults to `false`. */
  dryRun?: boolean;
}

class OptionRules {
  @IsOptional() @IsArray() entities?: unknown;
  @IsOptional() @IsArray() @IsString({ each: true }) columns?: unknown;
  @IsOptional() @IsObject() first?: unknown;
  @IsOptional() @IsObject() where?: unknown;
  @IsOptional() @IsArray() @ArrayNotEmpty() scopes?: unknown;
  @IsOptional() @IsObject() parameters?: unknown;
  @IsOptional() @IsInt() @IsPositive() batchSize?: unknown;
  @IsOptional() @IsPositive() maxRate?: unknown;
  @IsOptional() @IsString() targetKey?: unknown;
  @IsOptional() @IsBoolean() restart?: unknown;
  @IsOptional() pauseWhile?: unknown;
  @IsOptional() @IsPositive() maxReplicaLagMs?: unknown;
  @IsOptional() @IsObject() signal?: unknown;
  @IsOptional() onProgress?: unknown;
  @IsOptional() @IsBoolean() dryRun?: unknown;
}

/** @throws {@link RunPlanError} */
export function checkOptions(options: RunOptions): void {
  const problem = optionProblems(OptionRules, options) ?? parameterProblem(options);
  if (problem !== undefined) throw new RunPlanError(`The run has ${problem}. See RunOptions.`);
}

function parameterProblem({ parameters = {} }: RunOptions): string | undefined {
  const odd = Object.entries(parameters).find(([, value]) => !isBindable(value));
  return odd && `a wrong option: parameters.${odd[0]} must be a text or a number`;
}

function isBindable(value: unknown): boolean {
  return typeof value === 'string' || Number.isFinite(value);
}

/** Picks the options of a run that its workers need. Conditions are not among them. */
export function workerOptions(
  options: RunOptions,
): Pick<RunOptions, 'batchSize' | 'maxRate' | 'maxReplicaLagMs' | 'targetKey'> {
  const { batchSize, maxRate, maxReplicaLagMs, targetKey } = options;
  return defined({ batchSize, maxRate, maxReplicaLagMs, targetKey });
}
