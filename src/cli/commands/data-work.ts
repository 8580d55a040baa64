import { performance } from 'node:perf_hooks';
import { counted } from '../../doctor/counted';
import type { WritingMode } from '../../reencryption/run-mode';
import { workOnRuns } from '../../reencryption/pg-boss';
import type { QueueReport } from '../../reencryption/pg-boss';
import { describeReport, exitCodeOf } from '../describe-report';
import { EXIT_CODES } from '../exit-code';
import type { ExitCode } from '../exit-code';
import { firstConditions } from '../first-conditions';
import { interruptibly } from '../interruption';
import type { CommandResult } from '../output';
import { progressDisplay } from '../progress-display';
import type { Session } from '../session';

/** Options of `data work`. */
export interface DataWorkOptions {
  readonly once: boolean;
  readonly mode: readonly WritingMode[];
  /** `Entity: SQL condition` */
  readonly first: readonly string[];
}

/** Works on the rows that `--queue` left, and says by exit code whether all went well. */
export async function dataWork(
  { dataSource, output }: Session,
  { once, mode, first }: DataWorkOptions,
): Promise<CommandResult & { readonly exitCode: ExitCode }> {
  const start = performance.now();
  const display = progressDisplay(output);
  try {
    const report = await interruptibly(
      (signal) =>
        workOnRuns(dataSource, {
          once,
          modes: mode,
          signal,
          ...(first.length === 0 ? {} : { first: firstConditions(first) }),
          onProgress: (progress) => {
            display.update(progress);
          },
          onJobFailed: ({ code, message }) => {
            output.progress(`A job failed and goes back to the queue: ${code}: ${message}`);
          },
        }),
      () => {
        output.progress('Interrupted: finishing the page under way.');
      },
    );
    const seconds = (performance.now() - start) / 1000;
    return {
      document: { seconds, ...report },
      text: describe(report, seconds),
      exitCode: exitCode(report),
    };
  } finally {
    display.stop();
  }
}

/** A worker that was to work until it is stopped has done what it was to do. */
function exitCode({ runs, failedJobs, aborted }: QueueReport): ExitCode {
  if (aborted) return EXIT_CODES.interrupted;
  return failedJobs > 0 || runs.some((run) => exitCodeOf(run) !== EXIT_CODES.done)
    ? EXIT_CODES.failed
    : EXIT_CODES.done;
}

function describe({ runs, jobs, failedJobs }: QueueReport, seconds: number): string {
  return [
    `${counted(jobs, 'job')} done, ${counted(failedJobs, 'failure')} given back.`,
    ...runs.map((run) => describeReport(run, { dryRun: false, seconds })),
  ].join('\n');
}
