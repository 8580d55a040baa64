import { counted, grouped } from '../../doctor/finding';
import type { IndexRotation } from '../../keys/lifecycle/index-rotation';
import type { RewrapReport } from '../../keys/lifecycle/key-rewrap';
import { isBranchName } from '../../keys/record/scope';
import { declaredKinds } from '../../typeorm/metadata/encrypted-column';
import { loadKms } from '../load/data-source-module';
import type { Session } from '../load/session';
import { CommandError, EXIT_CODES } from '../terminal/command-error';
import type { CommandResult } from '../terminal/output';

import { commandLine } from './command-line';
import type { CommandWork } from './common-options';

/** Makes a new version of a data key the active one. */
export async function keysRotate(
  session: Session,
  name: string,
  { dryRun }: { readonly dryRun: boolean },
): Promise<CommandResult> {
  const { fieldEncryption, installation } = session;
  const versions = (await fieldEncryption.keys.list()).filter((key) => key.name === name);
  const { keyNames } = installation.columns;
  // A mistyped name would create a key that nothing uses.
  if (versions.length === 0 && !keyNames.includes(name)) throw unknownKey(session, name);

  const previous = versions.find(({ state }) => state === 'active') ?? null;
  const nextVersion = 1 + Math.max(0, ...versions.map(({ version }) => version));
  if (dryRun) {
    return {
      document: { dryRun, key: { name, version: nextVersion }, previous },
      text: `Would make version ${String(nextVersion)} of key "${name}" active. Nothing was changed.`,
    };
  }
  const key = await fieldEncryption.keys.rotate(name);
  // As the rotation left it.
  const replaced = (await fieldEncryption.keys.list()).find(({ id }) => id === previous?.id);
  return {
    document: { dryRun, key, previous: replaced ?? null },
    text: [
      `Version ${String(key.version)} of key "${name}" (${key.id}) is active.`,
      ...(previous === null
        ? []
        : [
            isBranchName(name)
              ? `Keys of scopes stay under their key until you run:\n  ${commandLine(session, 'keys', 'reseal')}`
              : `Rows stay under their key until you run:\n  ${commandLine(session, 'data', 'reencrypt')}`,
          ]),
    ].join('\n'),
  };
}

function unknownKey(session: Session, name: string): CommandError {
  const { columns } = session.installation;
  const { keyNames } = columns;
  if (declaredKinds(columns).includes(name)) {
    return new CommandError(
      'ERR_USAGE',
      `"${name}" is no data key, but a kind of scopes.`,
      `New keys for all of them: ${commandLine(session, 'keys', 'rotate', '--all-scopes', '--kind', name)}`,
    );
  }
  return new CommandError(
    'ERR_USAGE',
    `There is no data key "${name}".`,
    keyNames.length === 0
      ? 'No entity of this DataSource has encrypted columns.'
      : `The entities of this DataSource use: ${keyNames.join(', ')}.`,
  );
}

/** Takes the next step in the rotation of the blind-index root. */
export async function rotateIndex(
  session: Session,
  { dryRun }: { readonly dryRun: boolean },
): Promise<CommandResult> {
  const rotation = await session.fieldEncryption.keys.rotateIndex({ dryRun });
  return {
    document: { dryRun, ...rotation },
    text: [
      ...stepText(session, rotation, dryRun ? 'Would announce' : 'Announced'),
      ...(dryRun ? ['Nothing was changed.'] : []),
    ].join('\n'),
  };
}

function stepText(
  session: Session,
  { step, root, previous, activatableAt }: IndexRotation,
  announced: string,
): string[] {
  const title = root === null ? 'a new root' : `root version ${String(root.version)} (${root.id})`;
  const again = [
    `From ${activatableAt.toISOString()}, when every process has it, run:`,
    `  ${commandLine(session, 'keys', 'rotate', '--index')}`,
  ];
  switch (step) {
    case 'announced':
      return [
        `${announced} ${title} of the blind indexes. New tokens are still of the old one.`,
        ...again,
      ];
    case 'waiting':
      return [`The ${title} was announced; a process may not have it yet.`, ...again];
    case 'activated':
      return [
        `New tokens are of ${title}; those of root ${previous.id} are found until it is destroyed.`,
        'Reindex all rows, then destroy the old root:',
        `  ${commandLine(session, 'data', 'reindex')}`,
        `  ${commandLine(session, 'keys', 'destroy', previous.id)}`,
      ];
  }
}

/** Options of `keys rewrap`. */
export interface KeysRewrapOptions {
  readonly dryRun: boolean;
  /** Path of a module that exports the provider to move to. */
  readonly to: string | undefined;
  readonly force: boolean;
}

/** Rewraps every key; the exit code says whether all of them were. */
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
  const { kms, kek, rewrapped, current, conflicts, failures, ofScopes } = report;
  return [
    `${counted(rewrapped, 'key')} ${dryRun ? 'would be wrapped' : 'wrapped'} by ${kms} under ${kek}; ` +
      `${grouped(current)} were already, ${grouped(failures.length)} failed, ${grouped(conflicts)} in conflict.`,
    ...(ofScopes > 0
      ? [`${counted(ofScopes, 'key')} of scopes with a KMS of their own left alone.`]
      : []),
    ...(dryRun ? ['Nothing was changed.'] : []),
    ...failures.map(({ keyId, code, message }) => `  ${keyId}: ${code}: ${message}`),
    ...(failures.length > 0 ? ['Keys that failed were left as they are.'] : []),
    ...(conflicts > 0 ? ['Keys in conflict were changed meanwhile. Run the command again.'] : []),
  ].join('\n');
}
