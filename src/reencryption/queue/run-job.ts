import { IsArray, IsIn, IsInt, IsOptional, IsPositive, IsString, Matches } from 'class-validator';
import { RunPlanError } from '../../errors';
import { optionProblems } from '../../typeorm/option-rules';
import { WRITING_MODES } from '../run-mode';
import type { WritingMode } from '../run-mode';
import type { RunOptions } from '../run-options';

/**
 * A ticket for work in a run. It names the run and says how to work; it carries no SQL and no range,
 * so that write access to the queue cannot make workers do anything but what was begun.
 */
export interface RunJob {
  /** One range, or all that is left and the final passes. */
  readonly share: 'range' | 'rest';
  /** Id of the run. */
  readonly run: string;
  readonly mode: WritingMode;
  /** `Entity.property` */
  readonly columns: readonly string[];
  readonly batchSize?: number;
  /** Rows a second at most, for each worker. */
  readonly maxRate?: number;
  readonly maxReplicaLagMs?: number;
  readonly targetKey?: string;
}

class JobRules {
  @IsIn(['range', 'rest']) share?: unknown;
  @IsString() @Matches(/^[0-9a-f]{32}$/) run?: unknown;
  @IsIn(WRITING_MODES) mode?: unknown;
  @IsArray() @IsString({ each: true }) columns?: unknown;
  @IsOptional() @IsInt() @IsPositive() batchSize?: unknown;
  @IsOptional() @IsPositive() maxRate?: unknown;
  @IsOptional() @IsPositive() maxReplicaLagMs?: unknown;
  @IsOptional() @IsString() targetKey?: unknown;
}

/** @throws {@link RunPlanError} for what no run of this version has put there */
export function parseJob(data: object | null): RunJob {
  const problem = optionProblems(JobRules, data ?? {});
  if (problem === undefined) return data as RunJob;
  throw new RunPlanError(
    `A job of the queue has ${problem}. Another version of this package made it, or somebody else did: ` +
      'update all workers, or delete the job.',
  );
}

/** What a run is asked for that a worker has to know. */
export function jobOptions({
  batchSize,
  maxRate,
  maxReplicaLagMs,
  targetKey,
}: RunOptions): Pick<RunJob, 'batchSize' | 'maxRate' | 'maxReplicaLagMs' | 'targetKey'> {
  return {
    ...(batchSize === undefined ? {} : { batchSize }),
    ...(maxRate === undefined ? {} : { maxRate }),
    ...(maxReplicaLagMs === undefined ? {} : { maxReplicaLagMs }),
    ...(targetKey === undefined ? {} : { targetKey }),
  };
}
