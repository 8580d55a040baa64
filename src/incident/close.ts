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
  const made = (await installation.store.list()).filter(
    ({ id: keyId, purpose, state, ...wrapped }) =>
      isKek(wrapped, kek) &&
      purpose !== 'audit' &&
      state !== 'compromised' &&
      state !== 'destroyed' &&
      !known.includes(keyId),
  );
  if (made.length === 0) return {};
  throw new WaitError(
    'keys',
    `A process has made keys under the compromised KEK meanwhile: ${made.map((key) => key.id).join(', ')}. Let it use ` +
      'another KEK, and open an incident about each: field-encryption incident start --key <id>',
  );
}
