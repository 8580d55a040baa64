import type { DataSource } from 'typeorm';

import { pagesOf } from '../../keys/store/pages-of';
import { installationOf } from '../../typeorm/installation/installations';
import { workerOptions } from '../report/run-options';
import type { RunOptions } from '../report/run-options';
import type { WritingMode } from '../report/run-report';
import { openRuns } from '../runs/shared-run';
import type { SharedRun } from '../runs/shared-run';

import { JobQueue } from './job-queue';
import type { NewJob } from './job-queue';
import type { RunJob } from './run-job';

/** A run over one table that waits for workers. */
export interface EnqueuedRun {
  readonly entity: string;
  /** Id of the run, which its jobs carry. */
  readonly run: string;
  readonly jobs: number;
}

/** The runs that {@link enqueueRun} left to workers. */
export interface EnqueueReport {
  /** In the order of work; empty if there is nothing to do. */
  readonly runs: readonly EnqueuedRun[];
  /** Whether an unfinished run was resumed. */
  readonly resumed: boolean;
}

/** Jobs that one statement adds to the queue. */
const JOBS_AT_ONCE = 1000;
/** Times that a range, or the rest of a run, may fail or lose its worker. */
const RANGE_RETRIES = 10;
const REST_RETRIES = 100;

/**
 * Begins a run over the rows, or resumes the unfinished one, and leaves it to {@link workOnRuns}, on
 * any machine. Needs PostgreSQL and the package `pg-boss`.
 *
 * `scopes`, `where`, `parameters` and `first` are not put into the queue: give them to the workers as well.
 *
 * @throws {@link RunPlanError}, {@link ConfigurationError}, {@link KeyStateError}
 * @throws {@link RunInterruptedError} when the database fails
 */
export async function enqueueRun(
  dataSource: DataSource,
  mode: WritingMode,
  options: RunOptions = {},
): Promise<EnqueueReport> {
  return JobQueue.with(dataSource, async (queue) => {
    const { runs, before } = await openRuns(installationOf(dataSource), mode, options);
    const enqueued: EnqueuedRun[] = [];
    for (const [i, run] of runs.entries()) {
      const jobs = jobsOf(run, mode, options, runs.length - i);
      for (const page of pagesOf(jobs, JOBS_AT_ONCE)) await queue.add(page);
      enqueued.push({ entity: run.entity, run: run.id, jobs: jobs.length });
    }
    return { runs: enqueued, resumed: before.resumed };
  });
}

/** Returns a job for each range, and one to finish the run, which comes after the ranges of all runs. */
function jobsOf(
  { id, columns, ranges }: SharedRun,
  mode: WritingMode,
  options: RunOptions,
  priority: number,
): NewJob[] {
  const data: Omit<RunJob, 'share'> = { run: id, mode, columns, ...workerOptions(options) };
  const range: NewJob = {
    data: { ...data, share: 'range' },
    priority,
    retryLimit: RANGE_RETRIES,
  };
  const rest: NewJob = { data: { ...data, share: 'rest' }, priority: 0, retryLimit: REST_RETRIES };
  return [...Array.from({ length: ranges }, () => range), rest];
}
