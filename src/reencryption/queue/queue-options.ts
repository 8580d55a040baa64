import type { WritingMode } from '../run-mode';
import type { RunOptions } from '../run-options';
import type { RunReport } from '../run-report';

/** A job that went back to the queue. */
export interface JobFailure {
  /** Code of the error, such as `ERR_KMS_UNAVAILABLE`; the name of its class where it has none. */
  readonly code: string;
  readonly message: string;
}

/** Options of `workOnRuns`; all of them optional. */
export interface WorkOnRunsOptions extends Pick<RunOptions, 'first' | 'signal' | 'onProgress'> {
  /** Ends when the queue is empty and the runs worked on are over. Defaults to `false`: goes on until `signal`. */
  readonly once?: boolean;
  /** Runs to take part in. Defaults to all but `decrypt`: the queue alone must not turn rows into cleartext. */
  readonly modes?: readonly WritingMode[];
  /** Called for each job that went back to the queue. */
  readonly onJobFailed?: (failure: JobFailure) => void;
}

/** What a worker did. */
export interface QueueReport {
  /** Jobs that it did, and those that it had to give back. */
  readonly jobs: number;
  readonly failedJobs: number;
  /** What it did in each run. */
  readonly runs: readonly RunReport[];
  /** Whether `signal` ended a job early; its rest is in the queue. */
  readonly aborted: boolean;
}
