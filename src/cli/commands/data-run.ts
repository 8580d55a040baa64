import { writeFile } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';

import { counted } from '../../doctor/finding';
import { enqueueRun } from '../../reencryption/pg-boss';
import { defined } from '../../typeorm/declare/option-rules';
import { describeColumn } from '../../typeorm/metadata/encrypted-column';
import type { RunOptions } from '../../reencryption/report/run-options';
import type { RunMode, RunReport, WritingMode } from '../../reencryption/report/run-report';
import type { Session } from '../load/session';
import { EXIT_CODES } from '../terminal/command-error';
import type { ExitCode } from '../terminal/command-error';
import { requireFolderOf } from '../terminal/named-file';
import type { CommandResult } from '../terminal/output';
import { interruptibly, progressDisplay } from '../terminal/progress-display';
import { runInGroup } from '../workers/run-in-group';

import { requireNames, rowConditions } from './row-conditions';
import type { ConditionOptions } from './row-conditions';
import { describeReport, exitCodeOf } from './run-report-text';

/** Options of the commands that run over the rows. */
export interface DataRunOptions extends ConditionOptions {
  readonly dryRun: boolean;
  /** Names of entities, in the order of work; empty for all with encrypted columns. */
  readonly entity: readonly string[];
  /** `Entity.property` */
  readonly column: readonly string[];
  readonly batchSize: number | undefined;
  readonly maxRate: number | undefined;
  readonly maxReplicaLag: number | undefined;
  readonly targetKey: string | undefined;
  readonly restart: boolean;
  /** Processes that share the rows. */
  readonly workers: number;
  /** Set to leave the rows to `data work`. */
  readonly queue: 'pg-boss' | undefined;
  /** File for the report as JSON. */
  readonly report: string | undefined;
}

/** Runs over the rows; the exit code says whether all of them are done. */
export async function dataRun(
  session: Session,
  mode: RunMode,
  options: DataRunOptions,
): Promise<CommandResult & { readonly exitCode: ExitCode }> {
  const given = await runOptions(session, options);
  if (options.report !== undefined) requireFolderOf(options.report);
  if (options.queue !== undefined && isWriting(mode) && !options.dryRun) {
    return dataEnqueue(session, mode, given);
  }
  const start = performance.now();
  const report = await runWithProgress(session, mode, given, options.workers);
  const seconds = (performance.now() - start) / 1000;
  const document = { dryRun: options.dryRun, seconds, ...report };
  if (options.report !== undefined) {
    await writeFile(options.report, `${JSON.stringify(document, null, 2)}\n`);
  }
  return {
    document,
    text: describeReport(report, {
      dryRun: options.dryRun,
      seconds,
      isPartial: given.where !== undefined || given.scopes !== undefined,
    }),
    exitCode: exitCodeOf(report),
  };
}

async function runWithProgress(
  session: Session,
  mode: RunMode,
  options: RunOptions,
  workers: number,
): Promise<RunReport> {
  const { fieldEncryption, output } = session;
  const display = progressDisplay(output);
  const run = (signal: AbortSignal): Promise<RunReport> => {
    const given: RunOptions = {
      ...options,
      signal,
      onProgress: (progress) => {
        display.update(progress);
      },
    };
    return workers > 1 && isWriting(mode) && options.dryRun !== true
      ? runInGroup(session, mode, given, workers)
      : fieldEncryption[mode](given);
  };
  try {
    return await interruptibly(run, () => {
      output.progress('Interrupted: finishing the page under way.');
    });
  } finally {
    display.stop();
  }
}

function isWriting(mode: RunMode): mode is WritingMode {
  return mode !== 'verify';
}

/** @throws {@link CommandError} for the name of no encrypted entity or property */
async function runOptions(session: Session, options: DataRunOptions): Promise<RunOptions> {
  const { entity, column, maxReplicaLag } = options;
  requireKnown(session, options);
  const { dryRun, restart, batchSize, maxRate, targetKey } = options;
  const maxReplicaLagMs = maxReplicaLag && maxReplicaLag * 1000;
  return {
    dryRun,
    restart,
    ...(entity.length === 0 ? {} : { entities: [...entity] }),
    ...(column.length === 0 ? {} : { columns: [...column] }),
    ...(await rowConditions(session, options)),
    ...defined({ batchSize, maxRate, targetKey, maxReplicaLagMs }),
  };
}

function requireKnown({ installation }: Session, { entity, column }: DataRunOptions): void {
  const { byEntity } = installation.columns;
  const names = [...byEntity.keys()].map(({ name }) => name);
  requireNames('--entity', entity, names);
  const properties = [...byEntity.values()].flatMap(({ columns }) => columns.map(describeColumn));
  requireNames('--column', column, [...new Set(properties)]);
}

/** Begins a run and leaves its rows to `data work`. */
async function dataEnqueue(
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
