import type { RunReport } from '../../reencryption/run-report';
import { RunCounts } from '../../reencryption/run-report';
import { joinRun } from '../../reencryption/shared-run';
import type { Installation } from '../../typeorm/installation';
import type { WorkerOrder } from './messages';

/** Works in runs, one after the other, until they are over or the signal is aborted. */
export async function joinRuns(
  installation: Installation,
  { mode, options, runs }: WorkerOrder,
): Promise<RunReport> {
  const counts = new RunCounts();
  // The first process counts what is left, once, at the end.
  counts.remaining = null;
  for (const id of runs) {
    await joinRun(installation, mode, options, id, counts);
    counts.endTable();
  }
  return counts.report(mode, options.signal?.aborted ?? false);
}
