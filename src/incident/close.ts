import { loggedKeys, provenKeys } from './logged-keys';
import { namesOf } from './incident-log';
import { WaitError } from './response';
import type { Counts, Response } from './response';
import { isKek } from './risk';

/**
 * Closes an incident unless keys were made under the compromised KEK meanwhile, by a process that does not use another
 * one yet.
 */
export async function closeIncident({ installation, log, id }: Response): Promise<Counts> {
  const incident = await log.find(id);
  const kek = incident.entries[0]?.kek;
  if (kek === undefined || kek === null) return {};
  const known = namesOf(incident, 'risk');
  const once = await loggedKeys(installation, (entry) => isKek(entry, kek));
  const ids = new Set((await installation.store.list()).map((row) => row.id).concat(...once.ids));
  for (const each of known) ids.delete(each);
  const made = (await provenKeys(installation, [...ids]))
    .filter((key) => isKek(key, kek) || once.ids.has(key.id))
    .filter(({ purpose, state }) => purpose !== 'audit' && isInUse(state));
  if (made.length === 0) return {};
  throw new WaitError(
    'keys',
    `A process has made keys under the compromised KEK meanwhile: ${made.map((key) => key.id).join(', ')}. Let it use ` +
      'another KEK, and open an incident about each: field-encryption incident start --key <id>',
  );
}

function isInUse(state: string): boolean {
  return state !== 'compromised' && state !== 'destroyed';
}
