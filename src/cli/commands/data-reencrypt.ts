import { performance } from 'node:perf_hooks';
import type { ReencryptFailure, ReencryptReport } from '../../reencryption/reencrypt';
import { CommandError } from '../command-error';
import { EXIT_CODES } from '../exit-code';
import type { ExitCode } from '../exit-code';
import { interruptibly } from '../interruption';
import type { CommandResult } from '../output';
import { progressDisplay } from '../progress-display';
import type { Session } from '../session';
import { counted, grouped } from '../table';

/** Options of `data reencrypt`. */
export interface DataReencryptOptions {
  readonly dryRun: boolean;
  /** Names of entities; all with encrypted columns where there are none. */
  readonly entity: readonly string[];
  readonly batchSize: number | undefined;
}

/** Moves every row to the active data key, and says by exit code whether all of them got there. */
export async function dataReencrypt(
  session: Session,
  options: DataReencryptOptions,
): Promise<CommandResult & { readonly exitCode: ExitCode }> {
  for (const name of options.entity) requireEntity(session, name);
  const start = performance.now();
  const report = await runWithProgress(session, options);
  const seconds = (performance.now() - start) / 1000;
  return {
    document: { dryRun: options.dryRun, seconds, ...report },
    text: describe(report, options.dryRun, seconds),
    exitCode: exitCodeOf(report),
  };
}

async function runWithProgress(
  { fieldEncryption, output }: Session,
  { dryRun, entity, batchSize }: DataReencryptOptions,
): Promise<ReencryptReport> {
  const display = progressDisplay(output);
  const run = (signal: AbortSignal): Promise<ReencryptReport> =>
    fieldEncryption.reencrypt({
      dryRun,
      signal,
      ...(entity.length === 0 ? {} : { entities: [...entity] }),
      ...(batchSize === undefined ? {} : { batchSize }),
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

function requireEntity({ dataSource }: Session, name: string): void {
  if (dataSource.entityMetadatas.some((metadata) => metadata.name === name)) return;
  throw new CommandError(
    'ERR_USAGE',
    `There is no entity "${name}".`,
    'Give --entity the name of an entity of this DataSource.',
  );
}

function exitCodeOf({ aborted, failed, conflicts }: ReencryptReport): ExitCode {
  if (aborted) return EXIT_CODES.interrupted;
  return failed > 0 || conflicts > 0 ? EXIT_CODES.failed : EXIT_CODES.done;
}

function describe(report: ReencryptReport, dryRun: boolean, seconds: number): string {
  const { scanned, changed, skipped, conflicts, failed, failures, aborted } = report;
  const verb = dryRun ? 'would be re-encrypted' : 're-encrypted';
  return [
    `${counted(changed, 'row')} ${verb} in ${seconds.toFixed(1)} s: ${grouped(scanned)} read, ` +
      `${grouped(skipped)} under the active key already, ${grouped(failed)} failed, ${grouped(conflicts)} in conflict.`,
    ...(dryRun ? ['Nothing was changed.'] : []),
    ...failures.map(describeFailure),
    ...(failures.length < failed ? [`... and ${grouped(failed - failures.length)} more.`] : []),
    ...(failed > 0 ? ['Rows that failed were left as they are.'] : []),
    ...(conflicts > 0 ? ['Rows in conflict kept changing meanwhile. Run the command again.'] : []),
    ...(aborted
      ? ['Interrupted. What is done stays done; run the command again for the rest.']
      : []),
  ].join('\n');
}

function describeFailure({ entity, property, primaryKey, code }: ReencryptFailure): string {
  return `  ${entity} ${primaryKey.map(String).join(', ')}: ${property}: ${code}`;
}
