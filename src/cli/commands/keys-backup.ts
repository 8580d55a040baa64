import { existsSync, linkSync, mkdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { counted } from '../../doctor/finding';
import type { KeyBackup } from '../../keys/backup/create-backup';
import { protectionOf } from '../load/backup-access';
import type { BackupOptions } from '../load/backup-access';
import type { Session } from '../load/session';
import { CommandError } from '../terminal/command-error';
import { requireFolderOf } from '../terminal/named-file';
import type { CommandResult } from '../terminal/output';

import { commandLine } from './command-line';

/** Only the owner may read a file that opens keys. */
const PRIVATE = { mode: 0o600, flag: 'wx' } as const;

/** Writes a backup of every key, and the shares that open it, if any. */
export async function keysBackup(
  session: Session,
  file: string,
  { dryRun, ...options }: BackupOptions & { readonly dryRun: boolean },
): Promise<CommandResult> {
  const { fieldEncryption, installation } = session;
  requireNewFile(file);
  const protection = await protectionOf(options);
  if (dryRun) {
    const { keys, leftOut } = await installation.keys.operations.foreseeBackup(protection);
    const text = [`Would back up ${counted(keys, 'key')}.`, ...leftOut.map(leftOutLine)];
    return {
      document: { dryRun, file, keys, leftOut, shares: [] },
      text: [...text, 'Nothing was written.'].join('\n'),
    };
  }
  const backup = await fieldEncryption.keys.backup(protection);
  const { id, keys, leftOut } = backup;
  const shareFiles = writeShares(backup.shares, options.sharesTo ?? '', id);
  try {
    writeAtOnce(file, backup.file);
  } catch (error) {
    // There is no backup for them to open.
    for (const share of shareFiles) unlinkSync(share);
    throw error;
  }
  const opening = openingArguments(options, shareFiles);
  return {
    document: { dryRun, id, file, keys, leftOut, shares: shareFiles },
    text: [
      ...backupLines(file, backup),
      ...shareFiles.map((share) => `Share: ${share}`),
      'Prove that it reads:',
      `  ${commandLine(session, 'keys', 'drill', file, ...opening)}`,
      ...(shareFiles.length > 0
        ? ['Then hand each share to its custodian and delete it here.']
        : []),
    ].join('\n'),
  };
}

/** Describes a backup in a file. */
export function backupLines(file: string, { id, keys, leftOut }: KeyBackup): string[] {
  const done = `Backed up ${counted(keys, 'key')} to ${file} (backup ${id}).`;
  return [done, ...leftOut.map(leftOutLine)];
}

/** @throws {@link CommandError} for a file that is there already, or whose folder is not */
export function requireNewFile(file: string): void {
  if (existsSync(file)) throw existsAlready(file);
  requireFolderOf(file);
}

function leftOutLine({ id, name, version }: KeyBackup['leftOut'][number]): string {
  return (
    `Left out: key ${id} ("${name}" version ${String(version)}), the branch of a scope with a KMS of its own, ` +
    'which alone may open it. Backups of the database hold it.'
  );
}

/** Returns the options that open the backup as it was protected; a typed passphrase is asked for. */
function openingArguments(
  { kms, passphraseFile, passphraseFd, threshold }: BackupOptions,
  shareFiles: readonly string[],
): string[] {
  if (shareFiles.length > 0) return ['--share', ...shareFiles.slice(0, threshold)];
  if (kms !== undefined) return ['--kms', kms];
  if (passphraseFile !== undefined) return ['--passphrase-file', passphraseFile];
  return passphraseFd === undefined ? [] : ['--passphrase-fd', String(passphraseFd)];
}

function writeShares(shares: readonly string[], folder: string, id: string): string[] {
  if (shares.length > 0) mkdirSync(folder, { recursive: true, mode: 0o700 });
  return shares.map((share, at) => {
    const path = join(folder, `${id}-share-${String(at + 1)}-of-${String(shares.length)}.txt`);
    writeFileSync(path, `${share}\n`, PRIVATE);
    return path;
  });
}

/**
 * Writes a file as a whole or not at all, and replaces none: a crash must not leave half a backup, and a
 * file of that name may have appeared while the KMS was asked.
 */
export function writeAtOnce(file: string, content: string): void {
  const unfinished = `${file}.${String(process.pid)}.tmp`;
  writeFileSync(unfinished, content, { ...PRIVATE, flush: true });
  try {
    linkSync(unfinished, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw existsAlready(file);
    // A file system without hard links.
    writeFileSync(file, content, { ...PRIVATE, flush: true });
  } finally {
    unlinkSync(unfinished);
  }
}

function existsAlready(file: string): CommandError {
  return new CommandError('ERR_USAGE', `${file} exists already.`, 'Give the name of a new file.');
}
