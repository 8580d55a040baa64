import { writeFile } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import type { RunOptions } from '../reencryption/run-options';
import type { RunMode } from '../reencryption/run-mode';
import type { RowFailure, RunReport } from '../reencryption/run-report';
import { CommandError } from './command-error';
import { describePlan } from './describe-plan';
import { EXIT_CODES } from './exit-code';
import type { ExitCode } from './exit-code';
import { interruptibly } from './interruption';
import type { CommandResult } from './output';
import { progressDisplay } from './progress-display';
import type { Session } from './session';
import { counted, grouped } from './table';

/** Options of the commands that take the rows through a run. */
export interface DataRunOptions {
  readonly dryRun: boolean;
  /** Names of entities, in the order of work; all with encrypted columns where there are none. */
  readonly entity: readonly string[];
  /** `Entity.property` */
  readonly column: readonly string[];
  /** `Entity: SQL condition` */
  readonly first: readonly string[];
  readonly batchSize: number | undefined;
  readonly maxRate: number | undefined;
  readonly maxReplicaLag: number | undefined;
  readonly threads: number | undefined;
  readonly targetKey: string | undefined;
  readonly restart: boolean;
  /** File for the report as JSON. */
  readonly report: string | undefined;
}

/** Past tense and gerund of what each run does to rows. */
const DONE: Readonly<Record<RunMode, string>> = {
  encrypt: 'encrypted',
  reencrypt: 're-encrypted',
  reindex: 'indexed again',
  decrypt: 'decrypted',
  verify: 'changed',
};

/** Takes the rows through a run, and says by exit code whether all of them are done. */
export async function dataRun(
  session: Session,
  mode: RunMode,
  options: DataRunOptions,
): Promise<CommandResult & { readonly exitCode: ExitCode }> {
  for (const name of options.entity) requireEntity(session, name);
  const start = performance.now();
  const report = await runWithProgress(session, mode, options);
  const seconds = (performance.now() - start) / 1000;
  const document = { dryRun: options.dryRun, seconds, ...report };
  if (options.report !== undefined) {
    await writeFile(options.report, `${JSON.stringify(document, null, 2)}\n`);
  }
  return {
    document,
    text: describe(report, options.dryRun, seconds),
    exitCode: exitCodeOf(report),
  };
}

async function runWithProgress(
  { fieldEncryption, output }: Session,
  mode: RunMode,
  options: DataRunOptions,
): Promise<RunReport> {
  const display = progressDisplay(output);
  const run = (signal: AbortSignal): Promise<RunReport> =>
    fieldEncryption[mode]({
      ...runOptions(options),
      signal,
      onProgress: (progress) => {
        display.update(progress);
      },
    });
  try {
    return await interruptibly(run, () => {
      output.progress('Interrupted: finishing the page under way.');
    });
  } finally {
    display.stop();
  }
}

function runOptions(options: DataRunOptions): RunOptions {
  const { entity, column, first, maxReplicaLag } = options;
  return {
    dryRun: options.dryRun,
    restart: options.restart,
    ...(entity.length === 0 ? {} : { entities: [...entity] }),
    ...(column.length === 0 ? {} : { columns: [...column] }),
    ...(first.length === 0 ? {} : { first: Object.fromEntries(first.map(firstCondition)) }),
    ...defined({ batchSize: options.batchSize, maxRate: options.maxRate }),
    ...defined({ threads: options.threads, targetKey: options.targetKey }),
    ...(maxReplicaLag === undefined ? {} : { maxReplicaLagMs: maxReplicaLag * 1000 }),
  };
}

function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

function firstCondition(text: string): [string, string] {
  const [, entity, condition] = /^([^:]+):(.+)$/s.exec(text) ?? [];
  if (entity !== undefined && condition !== undefined) return [entity.trim(), condition.trim()];
  throw new CommandError(
    'ERR_USAGE',
    '--first has no condition.',
    `Write it as 'Entity: SQL condition', such as --first "Patient: status = 'active'".`,
  );
}

function requireEntity({ dataSource }: Session, name: string): void {
  if (dataSource.entityMetadatas.some((metadata) => metadata.name === name)) return;
  throw new CommandError(
    'ERR_USAGE',
    `There is no entity "${name}".`,
    'Give --entity the name of an entity of this DataSource.',
  );
}

function exitCodeOf({ aborted, failed, conflicts }: RunReport): ExitCode {
  if (aborted) return EXIT_CODES.interrupted;
  return failed > 0 || conflicts > 0 ? EXIT_CODES.failed : EXIT_CODES.done;
}

function describe(report: RunReport, dryRun: boolean, seconds: number): string {
  const { mode, scanned, changed, skipped, conflicts, failed, failures, aborted, resumed } = report;
  const verb = dryRun ? `would be ${DONE[mode]}` : DONE[mode];
  return [
    ...(report.plan === undefined ? [] : [describePlan(report.plan)]),
    ...(resumed ? ['Went on where an unfinished run had stopped.'] : []),
    `${counted(changed, 'row')} ${verb} in ${seconds.toFixed(1)} s: ${grouped(scanned)} read, ` +
      `${grouped(skipped)} needed nothing, ${grouped(failed)} failed, ${grouped(conflicts)} in conflict.`,
    ...(dryRun ? ['Nothing was changed.'] : []),
    ...failures.map(describeFailure),
    ...(failures.length < failed ? [`... and ${grouped(failed - failures.length)} more.`] : []),
    ...(failed > 0 ? ['Rows that failed were left as they are.'] : []),
    ...(conflicts > 0 ? ['Rows in conflict kept changing meanwhile. Run the command again.'] : []),
    ...(report.remaining === 0 && !dryRun ? ['A count found no row left.'] : []),
    ...(aborted
      ? ['Interrupted. What is done stays done; run the command again for the rest.']
      : []),
  ].join('\n');
}

function describeFailure({
  entity,
  property,
  primaryKey,
  code,
  conflictsWith,
}: RowFailure): string {
  const other = conflictsWith === undefined ? '' : ` with ${keyText(conflictsWith)}`;
  return `  ${entity} ${keyText(primaryKey)}: ${property}: ${code}${other}`;
}

function keyText(key: readonly unknown[]): string {
  return key.map(String).join(', ');
}
