import { policyOf } from '../keys/policy/key-policy';
import { isRetained } from '../keys/policy/retention-policy';
import type { KeyInfo } from '../keys/record/key-info';
import { isBranchName } from '../keys/record/scope';
import { endOfWait } from '../keys/store/watched-key-store';
import { defined } from '../typeorm/declare/option-rules';

import { doneEntry, namesOf } from './incident-log';
import type { Incident } from './incident-log';
import { keysOf, WaitError } from './response';
import type { Counts, Response } from './response';
import { replace } from './replace';
import { rowsAtRisk } from './risk';
import { moveRows } from './rows';

const DAY_MS = 86_400_000;

/** Destroys the compromised keys, each by its policy, once nothing needs them. */
export async function destroyAll(response: Response): Promise<Counts> {
  const { log, id } = response;
  const incident = await log.find(id);
  let kept = 0;
  for (const key of await keysOf(response, incident)) {
    const isKept = await destroy(response, incident, key);
    kept += Number(isKept);
    if (doneEntry(incident, 'destroy', key.id) !== undefined) continue;
    await log.note(id, 'destroy', key.id, { outcome: 'done', counts: { kept: Number(isKept) } });
  }
  return { kept };
}

/** Destroys a key unless its policy keeps it: who has it could prove rows of the key table by it. Returns whether it is kept. */
async function destroy(response: Response, incident: Incident, key: KeyInfo): Promise<boolean> {
  if (key.state === 'destroyed') return false;
  // What it signed is verified by its public half, which only the key itself proves.
  if (key.purpose === 'signing' || (await isKept(response, key))) return true;
  // Unless an older key table was put back since, nothing is left to replace.
  await replace(response, key);
  await requireAcknowledged(response, incident);
  await requireAtRest(response, incident, key);
  const isBranch = isBranchName(key.name);
  if (isBranch || (await rowsAtRisk(response, key)).length > 0) await moveRows(response);
  if (isBranch) {
    const [failure] = (await response.keys.resealScopes()).failures;
    if (failure !== undefined) throw new WaitError('scopes', failure.message);
  }
  await response.keys.destroy(key.id, defined({ graceMs: response.options.graceMs }));
  return false;
}

async function isKept({ installation, keys }: Response, key: KeyInfo): Promise<boolean> {
  const { keyPolicies = {}, now } = installation.options;
  const retention = key.purpose === 'data' ? policyOf(keyPolicies, key.name).retention : undefined;
  if (retention === undefined) return false;
  const time = now?.() ?? (await installation.store.now());
  const versions = (await keys.list()).filter(({ name }) => name === key.name);
  if (!isRetained(retention, key, versions, time)) return false;
  if (retention.kind !== 'minimumAge') return true;
  const since = key.deactivatedAt ?? key.compromisedAt ?? time;
  const until = endOfWait(since, retention.days * DAY_MS);
  throw new WaitError(
    'retention',
    `The policy of "${key.name}" keeps key ${key.id} for so long.`,
    until,
  );
}

async function requireAcknowledged({ installation }: Response, incident: Incident): Promise<void> {
  const open = namesOf(incident, 'dependant').filter(
    (name) => doneEntry(incident, 'dependant', name) === undefined,
  );
  const until = new Date(incident.entries[0]?.counts['waitUntil'] ?? 0);
  if (open.length === 0 || (await installation.store.now()) >= until) return;
  throw new WaitError(
    'dependants',
    `Not acknowledged yet by ${open.join(', ')}: field-encryption incident acknowledge ${incident.id} --as <name>`,
    until,
  );
}

/** Keys of scopes stay in memory as long as others, and were replaced after their branch. */
async function requireAtRest(
  { installation, options }: Response,
  incident: Incident,
  key: KeyInfo,
): Promise<void> {
  const { cachePolicy, operations } = installation.keys;
  const { graceMs = cachePolicy.maxAgeMs } = options;
  const replaced = isBranchName(key.name) ? doneEntry(incident, 'replace', key.id) : undefined;
  const ofScopes = replaced && endOfWait(new Date(replaced.counts['at'] ?? 0), graceMs);
  const until = ofScopes ?? (await operations.atRestFrom(key.id, options.graceMs));
  if (until === null || graceMs === 0 || (await installation.store.now()) >= until) return;
  throw new WaitError(
    'grace',
    'A process may have a compromised key in memory until then, and write with it.',
    until,
  );
}
