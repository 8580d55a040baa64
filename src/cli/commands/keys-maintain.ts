import { performance } from 'node:perf_hooks';

import type { UpkeepReport } from '../../key-upkeep';
import type { BackupProtection } from '../../keys/backup/backup-key';
import { protectionOf } from '../load/backup-access';
import type { BackupOptions } from '../load/backup-access';
import type { Session } from '../load/session';
import { CommandError, EXIT_CODES } from '../terminal/command-error';
import type { ExitCode } from '../terminal/command-error';
import { withoutCredentials } from '../terminal/output';
import { interruptibly, progressDisplay } from '../terminal/progress-display';

import { commandLine } from './command-line';
import type { CommandWork } from './common-options';
import { backupLines, requireNewFile, writeAtOnce } from './keys-backup';
import { keyTitle } from './keys-list';
import { describeReport, exitCodeOf } from './run-report-text';
import { rotationLines } from './scopes/rotate-scopes';

/** Options of `keys maintain`. */
export interface MaintainOptions extends Pick<
  BackupOptions,
  'kms' | 'passphraseFile' | 'passphraseFd'
> {
  readonly dryRun: boolean;
  readonly reencrypt: boolean;
  /** File for a backup at the end. */
  readonly backup: string | undefined;
}

/** Does what the key policies ask for, when a scheduler of the system or the cluster calls, and what is to follow. */
export async function keysMaintain(
  session: Session,
  { dryRun, reencrypt, backup: file, ...options }: MaintainOptions,
): ReturnType<CommandWork> {
  if (file === undefined) requireNoProtection(options);
  else requireNewFile(file);
  const backup = file === undefined ? undefined : await kmsProtection(options);
  const start = performance.now();
  const report = await maintained(session, { dryRun, reencrypt, ...(backup && { backup }) });
  const seconds = (performance.now() - start) / 1000;
  const { backup: made, reencryption } = report;
  if (file !== undefined && made !== null) writeAtOnce(file, made.file);
  const lines = [
    ...keyLines(session, report, dryRun),
    ...(reencryption === null
      ? []
      : [describeReport(reencryption, { dryRun, seconds, isPartial: false })]),
    ...(file === undefined || made === null ? [] : backupLines(file, made)),
    ...(file !== undefined && dryRun ? [`Would back up every key to ${file}.`] : []),
    ...report.failedSteps.map(
      ({ step, code, message }) =>
        `${step}: ${code ?? 'ERR_FAILED'}: ${withoutCredentials(message)}`,
    ),
  ];
  return {
    document: { dryRun, ...report, backup: made && { ...made, file } },
    text: lines.length === 0 ? 'Nothing is due.' : lines.join('\n'),
    exitCode: exitCode(report),
  };
}

/** @throws {@link CommandError} for what would protect a backup that nobody asked for */
function requireNoProtection(options: BackupOptions): void {
  if (Object.values(options).every((option) => option === undefined)) return;
  throw new CommandError(
    'ERR_USAGE',
    '--kms, --passphrase-file and --passphrase-fd are for a backup, and none is asked for.',
    'Give --backup <file>, too. Nothing was changed.',
  );
}

async function kmsProtection(
  options: BackupOptions,
): Promise<Extract<BackupProtection, { kms: unknown }>> {
  const protection = await protectionOf(options);
  if ('kms' in protection) return protection;
  throw new TypeError('no shares were asked for');
}

async function maintained(
  { fieldEncryption, output }: Session,
  options: Parameters<Session['fieldEncryption']['keys']['maintain']>[0],
): Promise<UpkeepReport> {
  const display = progressDisplay(output);
  try {
    return await interruptibly(
      (signal) =>
        fieldEncryption.keys.maintain({
          ...options,
          signal,
          onProgress: (progress) => {
            display.update(progress);
          },
        }),
      () => {
        output.progress('Interrupted: finishing the page under way.');
      },
    );
  } finally {
    display.stop();
  }
}

function keyLines(session: Session, report: UpkeepReport, dryRun: boolean): string[] {
  const { announced, activated, destroyed, awaitingApproval, stillNeeded, scopes, failures } =
    report;
  const would = dryRun ? 'would be ' : '';
  return [
    ...announced.map((key) =>
      dryRun ? `${keyTitle(key)}: a new version would be announced` : `${keyTitle(key)}: announced`,
    ),
    ...activated.map((key) => `${keyTitle(key)}: ${would}activated`),
    ...destroyed.map(
      (key) => `${keyTitle(key)}: ${would}destroyed${dryRun ? ', unless rows need it' : ''}`,
    ),
    ...awaitingApproval.map(
      (key) =>
        `${keyTitle(key)}: to be destroyed, which needs approval. Run:\n  ${commandLine(session, 'keys', 'destroy', key.id)}`,
    ),
    ...stillNeeded.map(
      (key) =>
        `${keyTitle(key)}: kept, rows need it. Run:\n  ${commandLine(session, 'data', 'reencrypt')}`,
    ),
    ...scopes.flatMap((rotation) => rotationLines({ ...rotation, failures: [] }, dryRun)),
    ...failures.map(({ keyName, code, message }) => `${keyName}: ${code}: ${message}`),
  ];
}

function exitCode({ failures, failedSteps, reencryption }: UpkeepReport): ExitCode {
  if (failures.length > 0 || failedSteps.length > 0) return EXIT_CODES.failed;
  return reencryption === null ? EXIT_CODES.done : exitCodeOf(reencryption);
}
