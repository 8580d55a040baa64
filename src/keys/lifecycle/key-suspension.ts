import { KeyStateError } from '../../errors';
import type { KeyEvent } from '../record/key-event';
import { wholeSecond, keyTitle } from '../record/key-record';
import { isVersionOf } from '../record/key-versions';
import type { KeyRecord } from '../record/key-record';
import { changedMeanwhile, requireDataKey } from './key-retirement';
import type { KeyServices } from '../key-services';
import type { StateChange, StateFields } from '../record/key-macs';
import { provenChange } from '../record/key-macs';
import { stateInWords } from '../record/key-state';
import { requireTransition } from './key-transition';

/** What suspending and resuming works with. */
export type KeySuspensionParts<C> = Pick<
  KeyServices<C>,
  'store' | 'wrapper' | 'retirement' | 'emit'
>;

/** How often an operation looks again after another process changed the row under it. */
const ATTEMPTS = 5;

/**
 * Stops all encryption under the name of an active key, until it is resumed or rotated. Suspending a
 * suspended key changes nothing.
 *
 * @throws {@link KeyNotFoundError}, {@link KeyStateError} for a key that is not active, or the index root
 */
export async function suspendKey<C>(parts: KeySuspensionParts<C>, id: string): Promise<KeyRecord> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const record = await parts.retirement.find(id);
    requireDataKey(record, 'suspended');
    if (record.state === 'suspended') return record;
    requireTransition(record, 'suspended');
    const deactivatedAt = wholeSecond(await parts.store.now());
    const set = await proven(parts, record, { state: 'suspended', deactivatedAt });
    if (!(await parts.store.apply([{ type: 'update', expected: record, set }]))) continue;
    parts.emit(eventOf('keySuspended', record));
    return { ...record, ...set };
  }
  throw changedMeanwhile(id);
}

/**
 * Ends the suspension of a key. It is active again, unless a newer version has been meanwhile: then
 * it is deactivated, for versions never go backwards.
 *
 * @throws {@link KeyNotFoundError}, {@link KeyStateError} for a key that is not suspended
 */
export async function resumeKey<C>(parts: KeySuspensionParts<C>, id: string): Promise<KeyRecord> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const record = await parts.retirement.find(id);
    requireDataKey(record, 'suspended');
    requireSuspended(record);
    const set = await proven(
      parts,
      record,
      (await wasReplaced(parts, record))
        ? { state: 'deactivated' }
        : { state: 'active', deactivatedAt: null },
    );
    if (!(await parts.store.apply([{ type: 'update', expected: record, set }]))) continue;
    parts.emit(eventOf('keyResumed', record));
    return { ...record, ...set };
  }
  throw changedMeanwhile(id);
}

/** A change of state, which only who can unwrap the key can make. */
async function proven<C>(
  { wrapper }: KeySuspensionParts<C>,
  record: KeyRecord,
  change: Partial<Omit<StateFields, 'id' | 'epoch'>>,
): Promise<StateChange> {
  const { authenticateState } = await wrapper.unwrapToRead(record);
  return provenChange(authenticateState, record, change, wrapper.epochs.next());
}

/** Whether a newer version of the name is or was active. */
async function wasReplaced<C>(
  { store }: KeySuspensionParts<C>,
  { name, version }: KeyRecord,
): Promise<boolean> {
  const versions = (await store.list()).filter(isVersionOf('data', name));
  return versions.some((other) => other.version > version && other.activatedAt !== null);
}

function eventOf(
  type: 'keySuspended' | 'keyResumed',
  { id: keyId, name: keyName, purpose, version }: KeyRecord,
): KeyEvent {
  return { type, purpose, keyId, keyName, version };
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
