import { requireSuspended } from '../../keys/lifecycle/key-suspension';
import { requireTransition } from '../../keys/lifecycle/key-transition';
import type { Session } from '../load/session';
import type { CommandResult } from '../terminal/output';

import { commandLine } from './command-line';
import { keyTitle } from './keys-list';

/** Stops all encryption under the name of a key until it is resumed or rotated. */
export async function keysSuspend(
  session: Session,
  id: string,
  { dryRun }: { readonly dryRun: boolean },
): Promise<CommandResult> {
  const { fieldEncryption, installation } = session;
  const before = await installation.keys.operations.find(id);
  const title = keyTitle(before);
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
      `  ${commandLine(session, 'keys', 'resume', id)}`,
      `  ${commandLine(session, 'keys', 'rotate', key.name)}`,
      'What it has encrypted can be read. Other processes write with it until their cache has aged.',
    ].join('\n'),
  };
}

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
