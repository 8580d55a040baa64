import { CommandError } from '../command-error';
import type { CommandResult } from '../output';
import type { Session } from '../session';
import { listen, tell } from './channel';
import { joinRuns } from './join-runs';
import type { WorkerOrder } from './messages';

/**
 * The work of a process that another one started: joins the runs that it is told to, and tells that
 * one how far they are. Ends after the page under way when either asks for it, and when the other is
 * no more.
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
  // A terminal sends its signals to all processes of a group. The first one decides when to give up.
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
