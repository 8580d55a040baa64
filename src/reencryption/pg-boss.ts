export { enqueueRun } from './queue/enqueue-run';
export type { EnqueuedRun, EnqueueReport } from './queue/enqueue-run';
export type { JobFailure, QueueReport, WorkOnRunsOptions } from './queue/run-job';
export { workOnRuns } from './queue/work-on-runs';
