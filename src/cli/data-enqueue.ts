import { counted } from '../doctor/counted';
import type { WritingMode } from '../reencryption/run-mode';
import type { RunOptions } from '../reencryption/run-options';
import { enqueueRun } from '../reencryption/pg-boss';
import { EXIT_CODES } from './exit-code';
import type { ExitCode } from './exit-code';
import type { CommandResult } from './output';
import type { Session } from './session';

/** Begins a run and leaves its rows to `data work`. */
export async function dataEnqueue(
  { dataSource }: Session,
  mode: WritingMode,
  options: RunOptions,
): Promise<CommandResult & { readonly exitCode: ExitCode }> {
  const enqueued = await enqueueRun(dataSource, mode, options);
  const lines = enqueued.runs.map(
    ({ entity, jobs }) => `${entity}: ${counted(jobs, 'job')} to ${mode} it.`,
  );
  const text =
    lines.length === 0
      ? 'There is nothing to do.'
      : [...lines, 'Run `data work` on as many machines as you like.'].join('\n');
  return { document: { mode, ...enqueued }, text, exitCode: EXIT_CODES.done };
}
