import { IsBoolean, IsOptional } from 'class-validator';

import type { Subject } from './approvals/approval-request';
import { ConfigurationError, FieldEncryptionError } from './errors';
import type { FieldEncryptionErrorCode } from './errors';
import type { BackupProtection } from './keys/backup/backup-key';
import type { KeyBackup } from './keys/backup/create-backup';
import type { MaintenanceOptions, MaintenanceReport } from './keys/lifecycle/maintenance-report';
import { encryptedRows } from './reencryption/coverage/key-uses';
import type { RunOptions } from './reencryption/report/run-options';
import type { RunReport } from './reencryption/report/run-report';
import { run } from './reencryption/runs/run';
import { kmsProblem } from './typeorm/declare/kms-option';
import { defined, requireOptions } from './typeorm/declare/option-rules';
import type { Installation } from './typeorm/installation/installation';
import { managedWork } from './typeorm/installation/managed-work';
import { declaredKinds } from './typeorm/metadata/encrypted-column';

type UpkeepBackup = Extract<BackupProtection, { kms: unknown }>;

/** Options of `maintain()`: of what the key policies ask for, and of what is to follow. */
export interface UpkeepOptions
  extends MaintenanceOptions, Pick<RunOptions, 'signal' | 'onProgress'> {
  /** Moves every row to the active data key then, as `reencrypt()` does. Defaults to `false`. */
  reencrypt?: boolean;
  /** Backs up every key at the end, as `backup()` does under a KMS. Defaults to no backup. */
  backup?: UpkeepBackup;
}

/** What `maintain()` did, step by step: a step that fails does not keep the next one from being taken. */
export interface UpkeepReport extends MaintenanceReport {
  /** `null` where it was not asked for, or failed. */
  readonly reencryption: RunReport | null;
  /** The backup to be stored; `null` in a dry run, and where it was not asked for, or failed. */
  readonly backup: KeyBackup | null;
  readonly failedSteps: readonly FailedStep[];
}

/** A step after the maintenance of the keys that failed as a whole. */
export interface FailedStep {
  readonly step: 'reencrypt' | 'backup';
  /** Undefined for an error of the database. */
  readonly code: FieldEncryptionErrorCode | undefined;
  readonly message: string;
}

class UpkeepRules {
  @IsOptional() announceMs?: unknown;
  @IsOptional() graceMs?: unknown;
  @IsOptional() waitMs?: unknown;
  @IsOptional() @IsBoolean() dryRun?: unknown;
  @IsOptional() @IsBoolean() reencrypt?: unknown;
  @IsOptional() backup?: unknown;
  @IsOptional() signal?: unknown;
  @IsOptional() onProgress?: unknown;
}

/** @throws {@link ConfigurationError} for wrong or unknown options */
export function requireUpkeepOptions(options: UpkeepOptions): void {
  requireOptions('maintain', UpkeepRules, options);
  const { backup } = options;
  const problem = backup === undefined ? undefined : kmsProblem('backup.kms', backup.kms);
  if (problem !== undefined) throw new ConfigurationError(`maintain: ${problem}.`);
}

/**
 * Does what the key policies ask for, and the steps after it.
 *
 * @throws {@link AccessDeniedError} before anything happens, if the actor may not take one of the steps;
 * {@link ConfigurationError} for wrong options
 */
export async function maintain(
  installation: Installation,
  given: UpkeepOptions,
): Promise<UpkeepReport> {
  requireUpkeepOptions(given);
  const { reencrypt = false, backup, signal, onProgress, ...options } = given;
  const { access, approvals, columns, keys } = installation;
  const { dryRun = false, waitMs } = options;
  const rows = encryptedRows(installation, waitMs);
  if (reencrypt) await access.requireLevel('data reencrypt');
  if (backup !== undefined) await access.requireLevel('backup');
  const report = await managedWork(installation, 'maintain', { parameters: {} }, async () => {
    const needsApproval = !access.allows('destroy') || (await approvals.gate.asksFor('destroy'));
    return keys.maintain({ ...options, needsApproval }, rows, declaredKinds(columns));
  });
  const failedSteps: FailedStep[] = [];
  const runOptions = { dryRun, ...defined({ signal, onProgress }) };
  return {
    ...report,
    reencryption: reencrypt
      ? await attempt('reencrypt', failedSteps, () => run(installation, 'reencrypt', runOptions))
      : null,
    backup: backup
      ? await attempt('backup', failedSteps, () => backUp(installation, backup, dryRun))
      : null,
    failedSteps,
  };
}

/** A dry run has no backup to return, which would hand out every key. */
async function backUp(
  installation: Installation,
  protection: UpkeepBackup,
  dryRun: boolean,
): Promise<KeyBackup | null> {
  const { access, keys } = installation;
  const own = { ...protection };
  if (dryRun) {
    await access.run('backup', () => keys.operations.foreseeBackup(own));
    return null;
  }
  return managedWork(installation, 'backup', backupSubject(own), () => keys.operations.backup(own));
}

/** Returns what is approved of a backup. */
export function backupSubject(protection: BackupProtection): Subject {
  const { kms, ...shares } = { kms: undefined, ...protection };
  return { parameters: { ...shares, kms: kms?.name } };
}

async function attempt<T>(
  step: FailedStep['step'],
  failed: FailedStep[],
  work: () => Promise<T>,
): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    const code = error instanceof FieldEncryptionError ? error.code : undefined;
    failed.push({ step, code, message: error instanceof Error ? error.message : String(error) });
    return null;
  }
}
