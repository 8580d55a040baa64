export { enqueueRun } from './queue/enqueue-run';
export type { EnqueuedRun, EnqueueReport } from './queue/enqueue-run';
export type { JobFailure, QueueReport, WorkOnRunsOptions } from './queue/queue-options';
export { workOnRuns } from './queue/work-on-runs';
