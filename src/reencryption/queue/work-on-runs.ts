import type { DataSource } from 'typeorm';

import { FieldEncryptionError, RunPlanError } from '../../errors';
import { installationOf } from '../../typeorm/installation/installations';
import { workerOptions } from '../report/run-options';
import { defined } from '../../typeorm/declare/option-rules';
import type { RunOptions } from '../report/run-options';
import { RunCounts } from '../report/run-report';
import type { WritingMode } from '../report/run-report';
import { joinRun, remainingRows } from '../runs/shared-run';
import { sleep } from '../walk/pace';

import { JobQueue } from './job-queue';
import type { TakenJob } from './job-queue';
import { parseJob } from './run-job';
import type { JobFailure, QueueReport, RunJob, WorkOnRunsOptions } from './run-job';

/** Milliseconds between polls of an empty queue. */
const POLL_MS = 1000;
const DEFAULT_MODES: readonly WritingMode[] = ['encrypt', 'reencrypt', 'reindex'];

/**
 * Works on the runs that `enqueueRun` left in the queue until `signal` is aborted, then finishes the
 * page under way and gives the rest back. There may be any number of workers, on any machine with the
 * same entities and the same KMS. Needs PostgreSQL and the package `pg-boss`.
 *
 * @throws {@link AccessDeniedError} to an actor that may not run one of its modes
 * @throws {@link ConfigurationError}
 * @throws {@link RunInterruptedError} when the database fails
 */
export async function workOnRuns(
  dataSource: DataSource,
  options: WorkOnRunsOptions = {},
): Promise<QueueReport> {
  const { access } = installationOf(dataSource);
  for (const mode of options.modes ?? DEFAULT_MODES) await access.requireLevel(`data ${mode}`);
  return JobQueue.with(dataSource, (queue) => new QueueWorker(dataSource, queue, options).run());
}

/** The part of this worker in a run, over all its jobs. */
interface Part {
  readonly job: RunJob;
  readonly counts: RunCounts;
  isOver: boolean;
}

/** A worker that takes jobs from the queue. */
class QueueWorker {
  readonly #dataSource: DataSource;
  readonly #queue: JobQueue;
  readonly #options: WorkOnRunsOptions;
  readonly #parts = new Map<string, Part>();
  #jobs = 0;
  #failedJobs = 0;

  constructor(dataSource: DataSource, queue: JobQueue, options: WorkOnRunsOptions) {
    this.#dataSource = dataSource;
    this.#queue = queue;
    this.#options = options;
  }

  async run(): Promise<QueueReport> {
    const { signal, once = false } = this.#options;
    while (!this.#aborted) {
      const job = await this.#queue.take();
      if (job !== undefined) await this.#take(job);
      else if (once) break;
      else await sleep(POLL_MS, signal);
    }
    if (once) await this.#finishRuns();
    return this.#report();
  }

  get #aborted(): boolean {
    return this.#options.signal?.aborted ?? false;
  }

  /** Does a job, or puts it back with its failure. */
  async #take(taken: TakenJob): Promise<void> {
    try {
      const job = parseJob(taken.data);
      this.#requireMode(job);
      const part = await this.#work(job);
      // Added anew, the rest is there for others at once; failing the job would make them wait.
      if (this.#aborted && !part.isOver) await this.#queue.add([{ ...taken, data: job }]);
      await this.#queue.complete(taken, { changed: part.counts.changed, isOver: part.isOver });
      this.#jobs += 1;
    } catch (error) {
      const failure = failureOf(error);
      await this.#queue.fail(taken, failure);
      this.#failedJobs += 1;
      this.#options.onJobFailed?.(failure);
    }
  }

  async #work(job: RunJob): Promise<Part> {
    const part = this.#parts.get(job.run) ?? { job, counts: new RunCounts(), isOver: false };
    try {
      part.isOver = await joinRun(
        installationOf(this.#dataSource),
        job.mode,
        this.#runOptions(job),
        job.run,
        part.counts,
        job.share === 'range' ? 1 : undefined,
      );
    } catch (error) {
      // A run that was cut off is reported, one that could not be joined is not.
      if (part.counts.scanned > 0) this.#parts.set(job.run, part);
      throw error;
    }
    this.#parts.set(job.run, part);
    return part;
  }

  /** Finishes the runs that were worked on: there may be no other worker. */
  async #finishRuns(): Promise<void> {
    for (const { job, isOver } of this.#parts.values()) {
      if (!isOver && !this.#aborted) await this.#work({ ...job, share: 'rest' });
    }
  }

  async #report(): Promise<QueueReport> {
    const installation = installationOf(this.#dataSource);
    const runs = [];
    for (const { job, counts, isOver } of this.#parts.values()) {
      const { mode } = job;
      counts.remaining = isOver
        ? await remainingRows(installation, mode, this.#runOptions(job))
        : null;
      runs.push(counts.report(mode, this.#aborted && !isOver));
    }
    const aborted = runs.some((run) => run.aborted);
    return { jobs: this.#jobs, failedJobs: this.#failedJobs, runs, aborted };
  }

  #runOptions(job: RunJob): RunOptions {
    const { scopes, where, parameters, first, signal, onProgress } = this.#options;
    const own = defined({ scopes, where, parameters, first, signal, onProgress });
    return { columns: job.columns, ...workerOptions(job), ...own };
  }

  #requireMode({ mode }: RunJob): void {
    const { modes = DEFAULT_MODES } = this.#options;
    if (modes.includes(mode)) return;
    throw new RunPlanError(
      `A job of the queue is to ${mode}, and this worker is for ${modes.join(', ')}. ` +
        `Start workers with \`--mode ${mode}\` (option \`modes\`) where that is meant to be.`,
    );
  }
}

/** Describes an error for the queue, without messages of drivers, which can quote rows. */
function failureOf(error: unknown): JobFailure {
  if (error instanceof FieldEncryptionError) return { code: error.code, message: error.message };
  const name = error instanceof Error ? error.name : typeof error;
  return { code: name, message: 'See the output of the worker.' };
}
