import { performance } from 'node:perf_hooks';
import { Option } from 'commander';
import type { Command } from 'commander';

import { counted } from '../../doctor/finding';
import { workOnRuns } from '../../reencryption/pg-boss';
import type { QueueReport } from '../../reencryption/pg-boss';
import { WRITING_MODES } from '../../reencryption/report/run-report';
import type { RunMode, WritingMode } from '../../reencryption/report/run-report';
import type { Session } from '../load/session';
import { EXIT_CODES } from '../terminal/command-error';
import type { ExitCode } from '../terminal/command-error';
import type { CommandResult } from '../terminal/output';
import { interruptibly, progressDisplay } from '../terminal/progress-display';
import { workerProcess } from '../workers/worker-process';

import { DRY_RUN, wholeNumber, withScopes } from './common-options';
import type { ChooseWork } from './common-options';
import { dataRun } from './data-run';
import type { DataRunOptions } from './data-run';
import { rowConditions } from './row-conditions';
import type { ConditionOptions } from './row-conditions';
import { describeReport, exitCodeOf } from './run-report-text';

/** Options of `data work`. */
export interface DataWorkOptions extends ConditionOptions {
  readonly once: boolean;
  readonly mode: readonly WritingMode[];
}

/** Works on the rows that `--queue` left; the exit code says whether all went well. */
async function dataWork(
  session: Session,
  { once, mode, ...conditions }: DataWorkOptions,
): Promise<CommandResult & { readonly exitCode: ExitCode }> {
  const { dataSource, output } = session;
  const given = await rowConditions(session, conditions);
  const start = performance.now();
  const display = progressDisplay(output);
  try {
    const report = await interruptibly(
      (signal) =>
        workOnRuns(dataSource, {
          once,
          modes: mode,
          signal,
          ...given,
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
      text: describe(report, seconds, given.where !== undefined || given.scopes !== undefined),
      exitCode: exitCode(report),
    };
  } finally {
    display.stop();
  }
}

/** To stop a worker is no failure, unless it was in the middle of a job. */
function exitCode({ runs, failedJobs, aborted }: QueueReport): ExitCode {
  if (aborted) return EXIT_CODES.interrupted;
  return failedJobs > 0 || runs.some((run) => exitCodeOf(run) !== EXIT_CODES.done)
    ? EXIT_CODES.failed
    : EXIT_CODES.done;
}

function describe(
  { runs, jobs, failedJobs }: QueueReport,
  seconds: number,
  isPartial: boolean,
): string {
  return [
    `${counted(jobs, 'job')} done, ${counted(failedJobs, 'failure')} given back.`,
    ...runs.map((run) => describeReport(run, { dryRun: false, seconds, isPartial })),
  ].join('\n');
}

const WHERE = [
  '--where <condition...>',
  "only these rows, as 'Entity: SQL condition' on plain columns, with :name for parameters",
] as const;
const PARAM = ['--param <name=value...>', 'values of the parameters in --where'] as const;

const DESCRIPTIONS: readonly (readonly [RunMode, string])[] = [
  [
    'encrypt',
    'encrypt the cleartext rows, and those of other libraries, of columns that may hold some, online',
  ],
  ['reencrypt', 'move every row to the active data key, online'],
  ['reindex', 'give every row the tokens that its blind indexes have now, online'],
  ['decrypt', 'turn rows back into cleartext, in columns that may hold some'],
  ['verify', 'read every row and list what does not decrypt; changes nothing'],
];

/** The commands that work on the rows. */
export function addData(program: Command, choose: ChooseWork): void {
  const data = program.command('data').description('work on the encrypted rows');
  for (const [mode, description] of DESCRIPTIONS) addRun(data, mode, description, choose);
  addWork(data, choose);
  data.command('worker', { hidden: true }).action(() => {
    choose(workerProcess);
  });
}

function addRun(data: Command, mode: RunMode, description: string, choose: ChooseWork): void {
  const command = withScopes(data.command(mode), 'only rows of this scope')
    .description(description)
    .option('--entity <name...>', 'only these entities, in this order')
    .option('--column <name...>', 'only these properties, as Entity.property')
    .option(...WHERE)
    .option(...PARAM)
    .option('--batch-size <rows>', 'rows in a page at most (default: 2000)', wholeNumber)
    .option('--max-rate <rows>', 'rows a second at most', wholeNumber)
    .option('--report <file>', 'write the report to a file, as JSON');
  if (mode !== 'verify') {
    command
      .option(...DRY_RUN)
      .option('--first <condition...>', "rows to do first, as 'Entity: SQL condition'")
      .option('--max-replica-lag <seconds>', 'wait while a replica is further behind', wholeNumber)
      .option('--restart', 'forget how far an unfinished run came')
      .option('--workers <count>', 'processes that share the rows (default: 1)', wholeNumber)
      .addOption(
        new Option('--queue <kind>', 'leave the rows to `data work`, on any machine').choices([
          'pg-boss',
        ]),
      );
  }
  if (mode === 'reencrypt') {
    command.option('--target-key <id>', 'refuse to run unless this data key is the active one');
  }
  command.action((options: Partial<DataRunOptions>) => {
    choose((session) => dataRun(session, mode, withDefaults(options)));
  });
}

function addWork(data: Command, choose: ChooseWork): void {
  withScopes(data.command('work'), 'as the runs were begun with')
    .description('work on rows that --queue left, until SIGTERM')
    .option('--once', 'end when the queue is empty and the runs worked on are over')
    .addOption(
      new Option('--mode <mode...>', 'runs to take part in')
        .choices(WRITING_MODES)
        .default(WRITING_MODES.filter((mode) => mode !== 'decrypt')),
    )
    .option('--where <condition...>', 'as the runs were begun with')
    .option('--param <name=value...>', 'as the runs were begun with')
    .option('--first <condition...>', 'as the runs were begun with')
    .action((options: Partial<DataWorkOptions>) => {
      choose((session) => dataWork(session, { once: false, mode: [], ...options }));
    });
}

function withDefaults(options: Partial<DataRunOptions>): DataRunOptions {
  return {
    dryRun: false,
    restart: false,
    entity: [],
    column: [],
    batchSize: undefined,
    maxRate: undefined,
    maxReplicaLag: undefined,
    targetKey: undefined,
    report: undefined,
    workers: 1,
    queue: undefined,
    ...options,
  };
}
