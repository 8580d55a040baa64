import { Option } from 'commander';
import type { Command } from 'commander';

import type { BackupOptions, OpenerOptions } from '../load/backup-access';

import {
  days,
  DRY_RUN,
  keyId,
  keyIds,
  minutes,
  reason,
  wholeNumber,
  withScopes,
  YES,
} from './common-options';
import type { ChooseWork, CommandWork, DryRunOption, ScopeFlags } from './common-options';
import { addPublicKeys, rotateSigning, signingInstead } from './evidence/signing-keys';
import { keysAcceptEpoch, keysAdopt } from './keys-adopt';
import { keysBackup } from './keys-backup';
import { keysList } from './keys-list';
import { keysMaintain } from './keys-maintain';
import type { MaintainOptions } from './keys-maintain';
import { keysDrill, keysRestore } from './keys-restore';
import { keysDestroy, keysRevoke } from './keys-revoke';
import { keysRewrap, keysRotate, rotateIndex } from './keys-rotate';
import { keysResume, keysSuspend } from './keys-suspend';
import { addScopes } from './scopes/scope-commands';
import { keysRotateScopes } from './scopes/rotate-scopes';

const KMS = ['--kms <path>', 'module that exports the KMS provider of the backup'] as const;
const PASSPHRASE_FILE = ['--passphrase-file <path>', 'file with the passphrase'] as const;
const PASSPHRASE_FD = [
  '--passphrase-fd <n>',
  'file descriptor to read the passphrase from',
  wholeNumber,
] as const;

const INDEX = ['--index', 'the root of the blind indexes instead of the data keys'] as const;

/** The values of options that several commands share. */
interface Flags extends DryRunOption {
  readonly index?: boolean;
  readonly yes?: boolean;
}

/** The options of `keys rotate`. */
interface RotateFlags extends Flags, ScopeFlags {
  readonly allScopes?: boolean;
  readonly olderThan?: number;
  readonly signing?: Parameters<typeof rotateSigning>[1];
}

/** Adds the commands on the life of the data keys. */
export function addKeys(program: Command, choose: ChooseWork): void {
  const keys = program.command('keys').description('life of the data keys');
  // In the order in which the help lists them.
  const groups = [addVersions, addBackups, addUpkeep, addSuspension, addRetirement, addScopes];
  for (const add of groups) add(keys, choose);
}

function addVersions(keys: Command, choose: ChooseWork): void {
  keys
    .command('list')
    .description('list every data key')
    .option(...INDEX)
    .action(({ index = false }: Flags) => {
      choose((session) => keysList(session, { index }));
    });
  const rotate = keys
    .command('rotate')
    .description('make a new version of a data key the active one')
    .argument('[name]', 'name of the data key', 'default')
    .addOption(new Option(...INDEX).conflicts('scope').conflicts('allScopes'))
    .addOption(signingInstead());
  withScopes(rotate, 'the key of a scope instead, such as of a tenant')
    .addOption(
      new Option('--all-scopes', 'the keys of all scopes instead, or of those of --kind').conflicts(
        'scope',
      ),
    )
    .option('--older-than <days>', 'of scopes, only keys that have been active for so long', days)
    .option(...DRY_RUN)
    .action((name: string, flags: RotateFlags) => {
      choose(rotationWork(name, flags, rotate));
    });
  addPublicKeys(keys, choose);
}

/** Returns the work of `keys rotate` in its three forms. */
function rotationWork(
  name: string,
  { dryRun = false, index = false, allScopes = false, ...flags }: RotateFlags,
  command: Command,
): CommandWork {
  const { scope, kind, olderThan, signing } = flags;
  if (scope !== undefined || allScopes) {
    const options = { scope, kind, olderThanDays: olderThan, dryRun };
    return (session) => keysRotateScopes(session, options);
  }
  if (kind !== undefined || olderThan !== undefined) {
    command.error('error: --kind and --older-than need --scope or --all-scopes');
  }
  if (signing !== undefined) return (session) => rotateSigning(session, signing, { dryRun });
  return (session) =>
    index ? rotateIndex(session, { dryRun }) : keysRotate(session, name, { dryRun });
}

function addBackups(keys: Command, choose: ChooseWork): void {
  keys
    .command('backup')
    .description(
      'write the common keys and the branch key to an encrypted file; keys of scopes are in no backup of keys',
    )
    .argument('<file>', 'file to write; it must not exist')
    .option(...KMS)
    .option(...PASSPHRASE_FILE)
    .option(...PASSPHRASE_FD)
    .option('--shares <n>', 'split the key of the backup among n custodians', wholeNumber)
    .option('--threshold <m>', 'shares that are needed to open it', wholeNumber)
    .option('--shares-to <folder>', 'folder to write the shares to, a file each')
    .option(...DRY_RUN)
    .action((file: string, { dryRun = false, ...options }: Flags & BackupOptions) => {
      choose((session) => keysBackup(session, file, { ...options, dryRun }));
    });
  addOpening(keys.command('restore'))
    .description('put the missing keys of a backup into the key table')
    .option('--adopt', 'vouch for a backup that somebody without its KMS could have made')
    .option(...DRY_RUN)
    .option(...YES)
    .action((file: string, options: Flags & OpenerOptions & { readonly adopt?: boolean }) => {
      const { dryRun = false, yes = false, adopt = false, ...opener } = options;
      choose((session) => keysRestore(session, file, { ...opener, dryRun, yes, adopt }));
    });
  addOpening(keys.command('drill'))
    .description('prove in memory that a backup reads the rows of this database')
    .action((file: string, options: OpenerOptions) => {
      choose((session) => keysDrill(session, file, options));
    });
}

function addUpkeep(keys: Command, choose: ChooseWork): void {
  keys
    .command('maintain')
    .description('do what the key policies ask for now, and what the options add to it')
    .option('--reencrypt', 'then move every row to the active data key')
    .option('--backup <file>', 'at the end write a backup of the keys; the file must not exist')
    .option(...KMS)
    .option(...PASSPHRASE_FILE)
    .option(...PASSPHRASE_FD)
    .option(...DRY_RUN)
    .action((options: Partial<MaintainOptions>) => {
      const { dryRun = false, reencrypt = false, backup, ...secret } = options;
      choose((session) => keysMaintain(session, { ...secret, dryRun, reencrypt, backup }));
    });
  keys
    .command('rewrap')
    .description('wrap every key again, under the newest KEK or another KMS')
    .option('--to <path>', 'module that exports the KMS provider to move to')
    .option('--force', 'also keys that name the newest KEK already')
    .option(...DRY_RUN)
    .action((options: Flags & { readonly to?: string; readonly force?: boolean }) => {
      const { dryRun = false, to, force = false } = options;
      choose((session) => keysRewrap(session, { dryRun, to, force }));
    });
  keys
    .command('adopt')
    .description('vouch for keys that somebody without the KMS could have made, and sign them')
    .argument('[ids...]', 'ids of the keys; all of them without', keyIds)
    .option(...DRY_RUN)
    .option(...YES)
    .action((ids: readonly string[], { dryRun = false, yes = false }: Flags) => {
      choose((session) => keysAdopt(session, ids, { dryRun, yes }));
    });
}

function addSuspension(keys: Command, choose: ChooseWork): void {
  keys
    .command('suspend')
    .description('stop all encryption under the name of a key, until it is resumed or rotated')
    .argument('<id>', 'id of the key', keyId)
    .option(...DRY_RUN)
    .action((id: string, { dryRun = false }: Flags) => {
      choose((session) => keysSuspend(session, id, { dryRun }));
    });
  keys
    .command('resume')
    .description('end the suspension of a key')
    .argument('<id>', 'id of the key', keyId)
    .option(...DRY_RUN)
    .action((id: string, { dryRun = false }: Flags) => {
      choose((session) => keysResume(session, id, { dryRun }));
    });
}

function addRetirement(keys: Command, choose: ChooseWork): void {
  keys
    .command('revoke')
    .description('take a compromised key out of use, and show what to re-encrypt')
    .argument('<id>', 'id of the key', keyId)
    .option(...DRY_RUN)
    .option(...YES)
    .option('--no-replacement', 'leave its name without a key: works while the KMS is away')
    .action((id: string, options: Flags & { readonly replacement: boolean }) => {
      const { dryRun = false, yes = false, replacement } = options;
      choose((session) => keysRevoke(session, id, { dryRun, yes, replace: replacement }));
    });
  keys
    .command('accept-epoch')
    .description('take an older key table for the newest, after a restore of the database')
    .argument('<epoch>', 'newest epoch that is given up, as the error names it', wholeNumber)
    .requiredOption('--reason <text>', 'why, for the audit log; 1 to 64 characters', reason)
    .option(...DRY_RUN)
    .option(...YES)
    .action((epoch: number, options: Flags & { readonly reason: string }) => {
      const { dryRun = false, yes = false, reason: why } = options;
      choose((session) => keysAcceptEpoch(session, epoch, { reason: why, dryRun, yes }));
    });
  keys
    .command('destroy')
    .description('erase a key that no row needs')
    .argument('<id>', 'id of the key', keyId)
    .option(...DRY_RUN)
    .option(...YES)
    .option(
      '--grace <minutes>',
      'refuse a key that was active since; keyCache.maxAgeMs by default',
      minutes,
    )
    .action((id: string, options: Flags & { readonly grace?: number }) => {
      const { dryRun = false, yes = false, grace } = options;
      const graceMs = grace === undefined ? undefined : grace * 60_000;
      choose((session) => keysDestroy(session, id, { dryRun, yes, graceMs }));
    });
}

function addOpening(command: Command): Command {
  return command
    .argument('<file>', 'file that keys backup wrote')
    .option(...KMS)
    .option(...PASSPHRASE_FILE)
    .option(...PASSPHRASE_FD)
    .option('--share <file...>', 'files of the custodians');
}
