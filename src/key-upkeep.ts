import { FieldEncryptionError } from './errors';
import type { FieldEncryptionErrorCode } from './errors';
import type { BackupProtection } from './keys/backup/backup-key';
import type { KeyBackup } from './keys/backup/create-backup';
import type { MaintenanceOptions, MaintenanceReport } from './keys/lifecycle/maintenance-report';
import { encryptedRows } from './reencryption/coverage/key-uses';
import type { RunOptions } from './reencryption/report/run-options';
import type { RunReport } from './reencryption/report/run-report';
import { run } from './reencryption/runs/run';
import { defined } from './typeorm/declare/option-rules';
import type { Installation } from './typeorm/installation/installation';
import { declaredKinds } from './typeorm/metadata/encrypted-column';

/** Options of `maintain()`: of what the key policies ask for, and of what is to follow. */
export interface UpkeepOptions
  extends MaintenanceOptions, Pick<RunOptions, 'signal' | 'onProgress'> {
  /** Moves every row to the active data key then, as `reencrypt()` does. Defaults to `false`. */
  reencrypt?: boolean;
  /** Backs up every key at the end, as `backup()` does under a KMS. Defaults to no backup. */
  backup?: Extract<BackupProtection, { kms: unknown }>;
}

/** What `maintain()` did, step by step: a step that fails does not keep the next one from being taken. */
export interface UpkeepReport extends MaintenanceReport {
  /** `null` where it was not asked for, or failed. */
  readonly reencryption: RunReport | null;
  /** The backup to be stored; `null` where it was not asked for, or failed. */
  readonly backup: KeyBackup | null;
  readonly failedSteps: readonly FailedStep[];
}

/** A step after the maintenance of the keys that failed as a whole. */
export interface FailedStep {
  readonly step: 'reencrypt' | 'backup';
  readonly code: FieldEncryptionErrorCode;
  readonly message: string;
}

/**
 * Does what the key policies ask for, and the steps after it.
 *
 * @throws {@link AccessDeniedError} before anything happens, if the actor may not take one of the steps
 */
export async function maintain(
  installation: Installation,
  { reencrypt = false, backup, signal, onProgress, ...options }: UpkeepOptions,
): Promise<UpkeepReport> {
  const { access, columns, keys } = installation;
  const { dryRun = false, waitMs } = options;
  const rows = encryptedRows(installation, waitMs);
  if (reencrypt) await access.run('data reencrypt', nothing);
  if (backup !== undefined) await access.run('backup', nothing);
  const report = await access.run('maintain', () =>
    keys.maintain(options, rows, declaredKinds(columns)),
  );
  const failedSteps: FailedStep[] = [];
  const runOptions = { dryRun, ...defined({ signal, onProgress }) };
  return {
    ...report,
    reencryption: reencrypt
      ? await attempt('reencrypt', failedSteps, () => run(installation, 'reencrypt', runOptions))
      : null,
    backup: backup
      ? await attempt('backup', failedSteps, () =>
          access.run('backup', () => keys.operations.backup(backup, dryRun)),
        )
      : null,
    failedSteps,
  };
}

function nothing(): void {
  // The level of the actor is all that is asked for.
}

async function attempt<T>(
  step: FailedStep['step'],
  failed: FailedStep[],
  work: () => Promise<T>,
): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof FieldEncryptionError)) throw error;
    failed.push({ step, code: error.code, message: error.message });
    return null;
  }
}
