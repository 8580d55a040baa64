import { ConfigurationError, KeyStateError } from '../../errors';
import type { KeyServices } from '../key-services';
import { keyInfo } from '../policy/key-policy';
import type { KeyInfo } from '../record/key-info';
import { INDEX_ROOT_NAME } from '../record/key-record';
import type { KeyRecord } from '../record/key-record';
import { isReadable } from '../record/key-state';
import { announcedAfter, isVersionOf, soleActive } from '../record/key-versions';
import { endOfWait } from '../store/watched-key-store';

import { IF_IT_GOES_ON, retryConflicts } from './compare-and-swap';

/** Options of `rotateIndex()`. */
export interface IndexRotationOptions {
  /**
   * Milliseconds from announcing a root to making tokens with it, in which every process loads it. At
   * least `keyCache.maxAgeMs` of any of them. Defaults to twice this process's.
   */
  announceMs?: number;
  /** Reports what would be done and changes nothing. Defaults to `false`. */
  dryRun?: boolean;
}

/** The progress of a rotation of the index key. */
export interface IndexRotation {
  /**
   * `announced`: the new root is in the key table, and tokens of it are found. `waiting`: it was
   * announced before, and a process may not have it yet. `activated`: new tokens are made with it.
   */
  readonly step: 'announced' | 'waiting' | 'activated';
  /** The new root; `null` where a dry run would announce one. */
  readonly root: KeyInfo | null;
  /** The root that it replaces, as this step left it. */
  readonly previous: KeyInfo;
  /** The time from which the new root can be activated. */
  readonly activatableAt: Date;
}

/**
 * Takes the next step of rotating the index key: announces a new root, or activates the one that was
 * announced long enough ago.
 *
 * The keys in memory of a process are never older than its maximum age, and the wait is by the clock of
 * the database. So when the new root is activated every process finds tokens of both, and none writes a
 * duplicate that it cannot see.
 */
export async function rotateIndex<C>(
  services: KeyServices<C>,
  options: IndexRotationOptions,
): Promise<IndexRotation> {
  const { announceMs = 2 * services.policy.maxAgeMs, dryRun = false } = options;
  requireWholeAge(announceMs, services.policy.maxAgeMs);
  return retryConflicts(async () => {
    const versions = await indexVersions(services);
    const active = soleActive(versions);
    if (active === undefined) throw noActiveRoot();
    const announced = announcedAfter(versions, active);
    return announced === undefined
      ? announce(services, versions, active, { announceMs, dryRun })
      : activate(services, announced, active, { announceMs, dryRun });
  }, changedMeanwhile);
}

/**
 * Refuses while a process may still make tokens with a root that was replaced.
 *
 * @throws {@link KeyStateError}, retryable
 */
export async function requireSettledIndex<C>(services: KeyServices<C>): Promise<void> {
  const versions = await indexVersions(services);
  const { maxAgeMs } = services.policy;
  for (const root of versions) await services.retirement.requireAtRest(root, maxAgeMs);
}

async function announce<C>(
  { lifecycle, policies, store, wrapper }: KeyServices<C>,
  versions: readonly KeyRecord[],
  active: KeyRecord,
  { announceMs, dryRun }: Required<IndexRotationOptions>,
): Promise<IndexRotation | undefined> {
  const replaced = versions.find((root) => root !== active && isReadable(root.state));
  if (replaced !== undefined) throw notFinished(replaced);
  const previous = keyInfo(active, policies);
  if (dryRun) {
    const activatableAt = endOfWait(await store.now(), announceMs);
    return { step: 'announced', root: null, previous, activatableAt };
  }
  // Under a wrong KEK this process would make a root that no other can read.
  await wrapper.unwrap(active);
  const next = await lifecycle.announce(INDEX_ROOT_NAME, 'index');
  if (next === undefined) return undefined;
  const activatableAt = endOfWait(next.record.createdAt, announceMs);
  return { step: 'announced', root: keyInfo(next.record, policies), previous, activatableAt };
}

async function activate<C>(
  { lifecycle, policies, store }: KeyServices<C>,
  announced: KeyRecord,
  active: KeyRecord,
  { announceMs, dryRun }: Required<IndexRotationOptions>,
): Promise<IndexRotation | undefined> {
  const activatableAt = endOfWait(announced.createdAt, announceMs);
  const outcome = (step: IndexRotation['step'], root: KeyRecord, previous: KeyRecord) => ({
    ...{ step, activatableAt },
    ...{ root: keyInfo(root, policies), previous: keyInfo(previous, policies) },
  });
  if ((await store.now()) < activatableAt) return outcome('waiting', announced, active);
  if (dryRun) return outcome('activated', announced, active);
  await lifecycle.activate(announced, active);
  const found = await store.findByIds([announced.id, active.id]);
  const root = found.find(({ id }) => id === announced.id);
  // Another process may have activated it first, or destroyed it.
  if (root?.state !== 'active') return undefined;
  return outcome('activated', root, found.find(({ id }) => id === active.id) ?? active);
}

async function indexVersions<C>({ store }: KeyServices<C>): Promise<KeyRecord[]> {
  return (await store.list()).filter(isVersionOf('index', INDEX_ROOT_NAME));
}

function requireWholeAge(announceMs: number, maxAgeMs: number): void {
  if (announceMs >= maxAgeMs) return;
  throw new ConfigurationError(
    `rotateIndex: got announceMs ${String(announceMs)}, want at least keyCache.maxAgeMs, which is ${String(maxAgeMs)}.`,
  );
}

function noActiveRoot(): KeyStateError {
  return new KeyStateError(
    'There is no active root of the blind indexes to rotate. Run `field-encryption init`, or restore ' +
      'its row of the key table.',
  );
}

function notFinished({ id, version }: KeyRecord): KeyStateError {
  return new KeyStateError(
    `The index key was rotated before, and tokens may still be of root ${id} (version ${String(version)}). ` +
      'Reindex, and destroy that root, before you rotate again.',
    { keyId: id },
  );
}

function changedMeanwhile(): KeyStateError {
  return new KeyStateError(
    `The index key was changed by another process meanwhile. Try again. ${IF_IT_GOES_ON}`,
    { retryable: true },
  );
}
