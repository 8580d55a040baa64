import { Option } from 'commander';
import type { Command } from 'commander';

import { keyTitle } from '../../../keys/record/key-record';
import { SIGNING_KEY_NAMES } from '../../../keys/signing/signing-keys';
import type { SigningKeyName } from '../../../keys/signing/signing-keys';
import type { Session } from '../../load/session';
import type { CommandResult } from '../../terminal/output';
import { commandLine } from '../command-line';
import type { ChooseWork } from '../common-options';

/** Prints the public halves of a signing key, one a line, the newest last. */
async function keysPublic(
  { fieldEncryption }: Session,
  name: SigningKeyName,
): Promise<CommandResult> {
  const keys = await fieldEncryption.keys.publicKeys(name);
  return {
    document: { name, keys },
    text:
      keys.length === 0
        ? `Nothing was signed with the key "${name}" yet.`
        : keys
            .map(
              ({ verifierKey, isCompromised }) =>
                verifierKey + (isCompromised ? '  compromised: trust nothing that it signed' : ''),
            )
            .join('\n'),
  };
}

const VOUCHED_FOR: Readonly<Record<SigningKeyName, string>> = {
  reports:
    'The version before it vouches for it in each note: those who have its public key need no other.',
  documents:
    'The version before it vouches for it in the database. Hand the new public key to those who verify elsewhere.',
};

/** Makes a new version of a signing key the active one. */
export async function rotateSigning(
  session: Session,
  name: SigningKeyName,
  { dryRun }: { readonly dryRun: boolean },
): Promise<CommandResult> {
  const { keys } = session.fieldEncryption;
  const before = await keys.publicKeys(name);
  if (dryRun) {
    return {
      document: { dryRun, name, previous: before.at(-1) ?? null },
      text: `Would make a new version of signing key "${name}" active. Nothing was changed.`,
    };
  }
  const key = await keys.rotateSigning(name);
  const isVouchedFor = before.some(({ state }) => state === 'active');
  return {
    document: { dryRun, key, isVouchedFor },
    text: [
      `${keyTitle(key)} is active.`,
      ...(isVouchedFor
        ? [VOUCHED_FOR[name]]
        : [
            'No earlier version vouches for it. Hand its public key to those who verify:',
            `  ${commandLine(session, 'keys', 'public', '--name', name)}`,
          ]),
    ].join('\n'),
  };
}

/** Returns the option of `keys rotate` that names a signing key. */
export function signingInstead(): Option {
  const option = new Option('--signing <name>', 'a key that signs instead');
  option.conflicts('index').conflicts('scope').conflicts('allScopes');
  return option.choices(SIGNING_KEY_NAMES);
}

/** Adds the command on public signing keys. */
export function addPublicKeys(keys: Command, choose: ChooseWork): void {
  keys
    .command('public')
    .description('print the public keys with which signatures are verified, the newest last')
    .addOption(
      new Option('--name <name>', 'which signing key')
        .choices(SIGNING_KEY_NAMES)
        .default('reports'),
    )
    .action(({ name }: { readonly name: SigningKeyName }) => {
      choose((session) => keysPublic(session, name));
    });
}
