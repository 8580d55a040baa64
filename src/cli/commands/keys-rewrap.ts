import { counted, grouped } from '../../doctor/counted';
import type { RewrapReport } from '../../keys/key-rewrap';
import type { CommandWork } from '../common-options';
import { EXIT_CODES } from '../exit-code';
import { loadKms } from '../kms-module';
import type { Session } from '../session';

/** Options of `keys rewrap`. */
export interface KeysRewrapOptions {
  readonly dryRun: boolean;
  /** Path of a module that exports the provider to move to. */
  readonly to: string | undefined;
  readonly force: boolean;
}

/** Wraps every key again, and says by exit code whether all of them went over. */
export async function keysRewrap(
  { fieldEncryption }: Session,
  { dryRun, to, force }: KeysRewrapOptions,
): ReturnType<CommandWork> {
  const target = to === undefined ? {} : { to: await loadKms(to) };
  const report = await fieldEncryption.keys.rewrap({ ...target, dryRun, force });
  const complete = report.failures.length === 0 && report.conflicts === 0;
  return {
    document: { dryRun, ...report },
    text: describe(report, dryRun),
    exitCode: complete ? EXIT_CODES.done : EXIT_CODES.failed,
  };
}

function describe(report: RewrapReport, dryRun: boolean): string {
  const { kms, kek, rewrapped, current, conflicts, failures } = report;
  return [
    `${counted(rewrapped, 'key')} ${dryRun ? 'would be wrapped' : 'wrapped'} by ${kms} under ${kek}; ` +
      `${grouped(current)} were already, ${grouped(failures.length)} failed, ${grouped(conflicts)} in conflict.`,
    ...(dryRun ? ['Nothing was changed.'] : []),
    ...failures.map(({ keyId, code, message }) => `  ${keyId}: ${code}: ${message}`),
    ...(failures.length > 0 ? ['Keys that failed were left as they are.'] : []),
    ...(conflicts > 0 ? ['Keys in conflict were changed meanwhile. Run the command again.'] : []),
  ].join('\n');
}
