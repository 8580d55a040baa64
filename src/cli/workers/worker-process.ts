import { RunCounts } from '../../reencryption/report/run-report';
import type { RunReport } from '../../reencryption/report/run-report';
import { joinRun } from '../../reencryption/runs/shared-run';
import type { Installation } from '../../typeorm/installation/installation';
import type { Session } from '../load/session';
import { CommandError } from '../terminal/command-error';
import type { CommandResult } from '../terminal/output';

import { listen, tell } from './channel';
import type { WorkerOrder } from './channel';

/** Joins runs, one after the other, until they are over or the signal is aborted. */
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

/**
 * Runs a process that another one started: joins the runs that it is told to, and reports its progress.
 * Stops after the page under way when it is signalled or told to, or when the other process is gone.
 */
export async function workerProcess({ installation }: Session): Promise<CommandResult> {
  if (process.send === undefined) {
    throw new CommandError(
      'ERR_USAGE',
      'This command is for the processes of --workers.',
      'Give --workers to the command that they are to share.',
    );
  }
  const abort = new AbortController();
  const stop = (): void => {
    abort.abort();
  };
  // A terminal signals all processes of a group. Only the first one decides when to give up.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop);
  process.on('disconnect', stop);

  const { options, ...order } = await orderFrom(stop);
  const report = await joinRuns(installation, {
    ...order,
    options: {
      ...options,
      signal: abort.signal,
      onProgress: (progress) => {
        void tell(process, { kind: 'progress', progress });
      },
    },
  });
  await tell(process, { kind: 'report', report });
  return { document: report, text: '' };
}

function orderFrom(stop: () => void): Promise<WorkerOrder> {
  const nothing: WorkerOrder = { mode: 'reencrypt', options: {}, runs: [] };
  return new Promise((resolve) => {
    listen(process, (message) => {
      if (message.kind === 'work') resolve(message.order);
      if (message.kind === 'stop') {
        stop();
        resolve(nothing);
      }
    });
    process.on('disconnect', () => {
      resolve(nothing);
    });
    void tell(process, { kind: 'ready' });
  });
}
