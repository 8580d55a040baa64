import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { counted } from '../../doctor/counted';
import { protectionOf } from '../backup-access';
import type { BackupOptions } from '../backup-access';
import { CommandError } from '../command-error';
import type { CommandResult } from '../output';
import type { Session } from '../session';

/** Only the owner reads what opens keys. */
const PRIVATE = { mode: 0o600, flag: 'wx' } as const;

/** Writes a backup of every key, and the shares that open it where it was split. */
export async function keysBackup(
  { fieldEncryption }: Session,
  file: string,
  { dryRun, ...options }: BackupOptions & { readonly dryRun: boolean },
): Promise<CommandResult> {
  if (existsSync(file)) {
    throw new CommandError('ERR_USAGE', `${file} exists already.`, 'Give the name of a new file.');
  }
  const {
    id,
    file: content,
    keys,
    shares,
  } = await fieldEncryption.keys.backup(await protectionOf(options));
  if (dryRun) {
    return {
      document: { dryRun, file, keys, shares: [] },
      text: `Would back up ${counted(keys, 'key')}. Nothing was written.`,
    };
  }
  const shareFiles = writeShares(shares, options.sharesTo ?? '', id);
  writeAtOnce(file, content);
  return {
    document: { dryRun, id, file, keys, shares: shareFiles },
    text: [
      `Backed up ${counted(keys, 'key')} to ${file} (backup ${id}).`,
      ...shareFiles.map((share) => `Share: ${share}`),
      ...(shareFiles.length > 0 ? ['Hand each share to its custodian and delete it here.'] : []),
      'Prove that it reads with: field-encryption keys drill',
    ].join('\n'),
  };
}

function writeShares(shares: readonly string[], folder: string, id: string): string[] {
  if (shares.length > 0) mkdirSync(folder, { recursive: true, mode: 0o700 });
  return shares.map((share, at) => {
    const path = join(folder, `${id}-share-${String(at + 1)}-of-${String(shares.length)}.txt`);
    writeFileSync(path, `${share}\n`, PRIVATE);
    return path;
  });
}

/** A crash leaves no half of a file that looks like a backup. */
function writeAtOnce(file: string, content: string): void {
  const unfinished = `${file}.${String(process.pid)}.tmp`;
  writeFileSync(unfinished, content, { ...PRIVATE, flush: true });
  renameSync(unfinished, file);
}
