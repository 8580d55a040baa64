import type { BackupOpener, BackupProtection } from '../../keys/backup/backup-key';
import type { KmsProvider } from '../../kms/kms-provider';
import { localKms } from '../../kms/local-kms';
import { CommandError } from '../terminal/command-error';
import { readText } from '../terminal/named-file';
import { readPassphrase } from '../terminal/prompt';
import type { SecretSource } from '../terminal/prompt';

import { loadKms } from './data-source-module';

interface KmsSource extends SecretSource {
  /** Path of a module that exports a KMS provider. */
  readonly kms?: string;
}

/** Options of `keys backup` on how to protect a backup. */
export interface BackupOptions extends KmsSource {
  readonly shares?: number;
  readonly threshold?: number;
  readonly sharesTo?: string;
}

/** Options on how to open a backup. */
export interface OpenerOptions extends KmsSource {
  /** Files, each with one share. */
  readonly share?: readonly string[];
}

/** @throws {@link CommandError} for options that do not go together */
export async function protectionOf(options: BackupOptions): Promise<BackupProtection> {
  const { shares, threshold, sharesTo } = options;
  const given = [shares, threshold, sharesTo].filter((option) => option !== undefined).length;
  if (given === 0) return { kms: await kmsOf(options, true) };
  if (shares === undefined || threshold === undefined || sharesTo === undefined) {
    throw new CommandError(
      'ERR_USAGE',
      '--shares, --threshold and --shares-to go together.',
      'Give all three, such as --shares 5 --threshold 3 --shares-to ./shares.',
    );
  }
  return { shares, threshold };
}

/** Loads the KMS or the shares that the options name. */
export async function openerOf(options: OpenerOptions): Promise<BackupOpener> {
  if (options.share === undefined) return { kms: await kmsOf(options, false) };
  return { shares: options.share.map(readText) };
}

async function kmsOf({ kms, ...secret }: KmsSource, isNew: boolean): Promise<KmsProvider> {
  if (kms !== undefined) return loadKms(kms);
  const passphrase = await readPassphrase(secret, isNew);
  return localKms({ passphrase });
}
