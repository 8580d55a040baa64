import { keyInfo } from '../keys/policy/key-policy';
import type { KeyInfo } from '../keys/record/key-info';
import { isBranchName } from '../keys/record/scope';
import type { SigningKeyName } from '../keys/signing/signing-keys';
import { defined } from '../typeorm/declare/option-rules';
import { managedWork } from '../typeorm/installation/managed-work';

import { endEarlierRotation } from './earlier-root';
import { doneEntry } from './incident-log';
import { keysOf, WaitError } from './response';
import type { Counts, Response } from './response';
import type { IncidentParts } from './risk';

/** Replaces every key at risk, so that nothing new is protected with one. */
export async function replaceAll(response: Response): Promise<Counts> {
  const { installation, log, id } = response;
  const incident = await log.find(id);
  const keys = await keysOf(response, incident);
  for (const key of keys) {
    await replace(response, key);
    if (doneEntry(incident, 'replace', key.id) !== undefined) continue;
    const next = await activeOf(response, key);
    const counts = {
      // By the clock of the database, which waits go by.
      at: (await installation.store.now()).getTime(),
      ...(next && { version: next.version }),
    };
    await log.note(id, 'replace', key.id, { outcome: 'done', counts });
  }
  return { keys: keys.length };
}

async function activeOf(
  { installation }: IncidentParts,
  { id, name, purpose }: KeyInfo,
): Promise<KeyInfo | undefined> {
  const current = await installation.store.findCurrent(purpose, [name]);
  const active = current.find((record) => record.state === 'active' && record.id !== id);
  return active && keyInfo(active, installation.options.keyPolicies);
}

/** Replaces a key that is in use. Does it again where an older key table was put back. */
export async function replace(response: Response, key: KeyInfo): Promise<void> {
  const { keys } = response;
  if (key.purpose === 'index') return replaceRoot(response, key);
  if (key.state !== 'compromised' && key.state !== 'destroyed') await keys.revoke(key.id);
  // Revoked without a replacement, or suspended before.
  if ((await activeOf(response, key)) === undefined) {
    if (key.purpose === 'signing') await keys.rotateSigning(key.name as SigningKeyName);
    else await keys.rotate(key.name);
  }
  await replaceScopes(response, key);
}

/**
 * Gives new keys to the scopes whose present one a branch key has sealed. A process that still had the branch may have
 * made some since.
 */
export async function replaceScopes({ installation }: Response, key: KeyInfo): Promise<void> {
  if (key.purpose !== 'data' || !isBranchName(key.name) || !installation.hasScopes) return;
  const { scopeOperations } = installation.keys;
  if (!(await scopeOperations.isInUse(key.id))) return;
  const subject = { parameters: { branch: key.id } };
  const [failure] = await managedWork(installation, 'rotate', subject, () =>
    scopeOperations.rotateUnder(key.id),
  );
  if (failure !== undefined) throw new WaitError('scopes', failure.message);
}

/** A root is not revoked: every process has to find tokens of the new one before it is used. */
async function replaceRoot(response: Response, key: KeyInfo): Promise<void> {
  const { keys, options } = response;
  const { id, state } = key;
  if (state === 'preActive') await keys.destroy(id);
  if (state !== 'active') return;
  await endEarlierRotation(response, key);
  const announced = await keys.rotateIndex(defined({ announceMs: options.announceMs }));
  if (announced.step === 'activated') return;
  throw new WaitError(
    'announcement',
    'The new root of the blind indexes is announced, and every process has to load it before it is used.',
    announced.activatableAt,
  );
}
