import { KeyStateError } from '../../errors';
import type { KeyServices } from '../key-services';
import { provenChange } from '../record/key-macs';
import type { ChangedFields } from '../record/key-macs';
import { keyTitle, wholeSecond } from '../record/key-record';
import type { KeyRecord } from '../record/key-record';
import { stateInWords } from '../record/key-state';
import { isVersionOf } from '../record/key-versions';

import { changedMeanwhile, retryConflicts } from './compare-and-swap';
import { requireDataKey, requireTransition } from './key-transition';

type Services<C> = Pick<KeyServices<C>, 'store' | 'wrapper' | 'retirement' | 'emit'>;

/**
 * Stops all encryption under the name of an active key, until it is resumed or rotated. Suspending a
 * suspended key changes nothing.
 *
 * @throws {@link KeyNotFoundError}, {@link KeyStateError} for a key that is not active, or the index root
 */
export function suspendKey<C>(services: Services<C>, id: string): Promise<KeyRecord> {
  const attempt = async (): Promise<KeyRecord | undefined> => {
    const record = await services.retirement.find(id);
    requireDataKey(record, 'suspended');
    if (record.state === 'suspended') return record;
    requireTransition(record, 'suspended');
    const deactivatedAt = wholeSecond(await services.store.now());
    return changeState(services, record, 'keySuspended', { state: 'suspended', deactivatedAt });
  };
  return retryConflicts(attempt, () => changedMeanwhile(id));
}

/**
 * Ends the suspension of a key. It is active again, unless a newer version was active since: then it
 * is deactivated, for versions never go backwards.
 *
 * @throws {@link KeyNotFoundError}, {@link KeyStateError} for a key that is not suspended
 */
export function resumeKey<C>(services: Services<C>, id: string): Promise<KeyRecord> {
  const attempt = async (): Promise<KeyRecord | undefined> => {
    const record = await services.retirement.find(id);
    requireDataKey(record, 'suspended');
    requireSuspended(record);
    const change: ChangedFields = (await wasReplaced(services, record))
      ? { state: 'deactivated' }
      : { state: 'active', deactivatedAt: null };
    return changeState(services, record, 'keyResumed', change);
  };
  return retryConflicts(attempt, () => changedMeanwhile(id));
}

/** Changes a state, which takes unwrapping the key; undefined where another process changed it first. */
async function changeState<C>(
  { store, wrapper, emit }: Services<C>,
  record: KeyRecord,
  type: 'keySuspended' | 'keyResumed',
  change: ChangedFields,
): Promise<KeyRecord | undefined> {
  const { authenticateState } = await wrapper.unwrapToRead(record);
  const set = provenChange(authenticateState, record, change, wrapper.epochs.next());
  if (!(await store.apply([{ type: 'update', expected: record, set }]))) return undefined;
  const { id: keyId, name: keyName, purpose, version } = record;
  emit({ type, purpose, keyId, keyName, version });
  return { ...record, ...set };
}

/** Whether a newer version of the name is or was active. */
async function wasReplaced<C>(
  { store }: Services<C>,
  { name, version }: KeyRecord,
): Promise<boolean> {
  const versions = (await store.list()).filter(isVersionOf('data', name));
  return versions.some((other) => other.version > version && other.activatedAt !== null);
}

/** @throws {@link KeyStateError} for a key in any other state */
export function requireSuspended(
  record: Pick<KeyRecord, 'id' | 'name' | 'purpose' | 'version' | 'state'>,
): void {
  const { id, state } = record;
  if (state === 'suspended') return;
  throw new KeyStateError(
    `${keyTitle(record)} is ${stateInWords(state)}, not suspended: there is nothing to resume.`,
    { keyId: id },
  );
}
