import { requireSuspended } from '../../keys/key-suspension';
import type { CommandResult } from '../output';
import type { Session } from '../session';

/** Ends the suspension of a key. */
export async function keysResume(
  { fieldEncryption, installation }: Session,
  id: string,
  { dryRun }: { readonly dryRun: boolean },
): Promise<CommandResult> {
  if (dryRun) {
    const before = await installation.keys.operations.find(id);
    requireSuspended(before);
    return {
      document: { dryRun, key: before },
      text: `Would resume key ${id}. Nothing was changed.`,
    };
  }
  const key = await fieldEncryption.keys.resume(id);
  const title = `Key "${key.name}" version ${String(key.version)} (${id})`;
  return {
    document: { dryRun, key },
    text:
      key.state === 'active'
        ? `${title} is active again.`
        : `${title} is deactivated: a newer version was active meanwhile.`,
  };
}
