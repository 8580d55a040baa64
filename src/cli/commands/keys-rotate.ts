import { CommandError } from '../command-error';
import type { CommandResult } from '../output';
import type { Session } from '../session';

/** Makes a new version of a data key the active one. */
export async function keysRotate(
  { fieldEncryption, installation }: Session,
  name: string,
  { dryRun }: { readonly dryRun: boolean },
): Promise<CommandResult> {
  const versions = (await fieldEncryption.keys.list()).filter((key) => key.name === name);
  const { keyNames } = installation.columns;
  // A mistyped name would be a new key that nothing uses.
  if (versions.length === 0 && !keyNames.includes(name)) throw unknownKey(name, keyNames);

  const previous = versions.find(({ state }) => state === 'active') ?? null;
  const nextVersion = 1 + Math.max(0, ...versions.map(({ version }) => version));
  if (dryRun) {
    return {
      document: { dryRun, key: { name, version: nextVersion }, previous },
      text: `Would make version ${String(nextVersion)} of key "${name}" active. Nothing was changed.`,
    };
  }
  const key = await fieldEncryption.keys.rotate(name);
  return {
    document: { dryRun, key, previous },
    text: [
      `Version ${String(key.version)} of key "${name}" (${key.id}) is active.`,
      ...(previous === null
        ? []
        : ['Rows stay under their key until you run: field-encryption data reencrypt']),
    ].join('\n'),
  };
}

function unknownKey(name: string, keyNames: readonly string[]): CommandError {
  return new CommandError(
    'ERR_USAGE',
    `There is no data key "${name}".`,
    keyNames.length === 0
      ? 'No entity of this DataSource has encrypted columns.'
      : `The entities of this DataSource use: ${keyNames.join(', ')}.`,
  );
}
