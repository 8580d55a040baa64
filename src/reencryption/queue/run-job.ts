import { IsArray, IsIn, IsInt, IsOptional, IsPositive, IsString, Matches } from 'class-validator';

import { RunPlanError } from '../../errors';
import { optionProblems } from '../../typeorm/declare/option-rules';
import type { RunOptions } from '../report/run-options';
import { WRITING_MODES } from '../report/run-report';
import type { RunReport, WritingMode } from '../report/run-report';

/** Why a job went back to the queue. */
export interface JobFailure {
  /** Code of the error, such as `ERR_KMS_UNAVAILABLE`; the name of its class if it has none. */
  readonly code: string;
  readonly message: string;
}

/** Options of `workOnRuns`; all of them optional. */
export interface WorkOnRunsOptions extends Pick<
  RunOptions,
  'scopes' | 'where' | 'parameters' | 'first' | 'signal' | 'onProgress'
> {
  /** Whether to stop when the queue is empty and its runs are over. Defaults to `false`: works until `signal`. */
  readonly once?: boolean;
  /** Modes to work in. Defaults to all but `decrypt`: the queue alone must not turn rows into cleartext. */
  readonly modes?: readonly WritingMode[];
  /** Called for each job that went back to the queue. */
  readonly onJobFailed?: (failure: JobFailure) => void;
}

/** The result of a worker. */
export interface QueueReport {
  /** Jobs that it finished, and those that it had to give back. */
  readonly jobs: number;
  readonly failedJobs: number;
  /** Its part in each run. */
  readonly runs: readonly RunReport[];
  /** Whether `signal` ended a job early; its rest is in the queue. */
  readonly aborted: boolean;
}

/**
 * A ticket for work in a run. It names the run and how to work, and has neither SQL nor a range, so that
 * write access to the queue cannot make workers do anything but work in a run that was begun.
 */
export interface RunJob {
  /** One range, or the rest of the run with its final passes. */
  readonly share: 'range' | 'rest';
  /** Id of the run. */
  readonly run: string;
  readonly mode: WritingMode;
  /** `Entity.property` */
  readonly columns: readonly string[];
  readonly batchSize?: number;
  /** The most rows a second, for each worker. */
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

/** @throws {@link RunPlanError} for a job that this version did not write */
export function parseJob(data: object | null): RunJob {
  const problem = optionProblems(JobRules, data ?? {});
  if (problem === undefined) return data as RunJob;
  throw new RunPlanError(
    `A job of the queue has ${problem}. Another version of this package made it, or somebody else did: ` +
      'update all workers, or delete the job.',
  );
}
