import { requireTransition } from '../../keys/key-transition';
import type { CommandResult } from '../output';
import type { Session } from '../session';

/** Stops all encryption under the name of a key, until it is resumed or rotated. */
export async function keysSuspend(
  { fieldEncryption, installation }: Session,
  id: string,
  { dryRun }: { readonly dryRun: boolean },
): Promise<CommandResult> {
  const before = await installation.keys.operations.find(id);
  const title = `key "${before.name}" version ${String(before.version)} (${id})`;
  if (dryRun) {
    if (before.state !== 'suspended') requireTransition(before, 'suspended');
    return {
      document: { dryRun, key: before },
      text: `Would suspend ${title}. Nothing was changed.`,
    };
  }
  const key = await fieldEncryption.keys.suspend(id);
  return {
    document: { dryRun, key },
    text: [
      `Suspended ${title}: nothing is encrypted under "${key.name}" until you run one of`,
      `  field-encryption keys resume ${id}`,
      `  field-encryption keys rotate ${key.name}`,
      'What it has encrypted can be read. Other processes write with it until their cache has aged.',
    ].join('\n'),
  };
}
