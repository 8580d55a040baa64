import { KeyUnwrapError } from '../../errors';
import type { KeyServices } from '../key-services';
import type { KeyInfo } from '../record/key-info';
import { unprovenChange } from '../record/key-macs';
import { wholeSecond } from '../record/key-record';
import type { KeyRecord } from '../record/key-record';
import { isKnownState } from '../record/key-state';
import type { CreatedKey } from '../wrapping/key-wrapper';
import { isGenuine } from '../wrapping/row-proofs';

import { changedMeanwhile, retryConflicts } from './compare-and-swap';
import type { ColumnUse } from './encrypted-rows';
import { requireDataKey, requireTransition } from './key-transition';

/** Options of a revocation. */
export interface RevokeOptions {
  /**
   * Whether a new version takes the place of an active key. Without, the KMS is not needed, and
   * nothing can be written under the name until it is rotated. Defaults to `true`.
   */
  replace?: boolean;
}

/** A key that was revoked. */
export interface RevokedKey {
  readonly key: KeyInfo;
  /** The new active version; `null` where the revoked one was not active. */
  readonly replacement: KeyInfo | null;
  /**
   * Whether the row proved that this library wrote it. `false` where it was edited, or wrapped by a KMS
   * that this process does not have: name, version and dates in it may be somebody else's. `null` where
   * the KMS was not asked.
   */
  readonly proven: boolean | null;
}

/** A revoked key, and the work that is left to do. */
export interface RevocationReport extends RevokedKey {
  /**
   * The columns with rows under the revoked key, for `reencrypt()`; `null` if the database hides rows from
   * this role.
   */
  readonly plan: readonly ColumnUse[] | null;
}

/** {@link RevokedKey} as records, with the replacement ready for use. */
interface Revoked {
  readonly record: KeyRecord;
  readonly replacement: CreatedKey | undefined;
  readonly isProven: boolean | undefined;
}

type Services<C> = Pick<KeyServices<C>, 'store' | 'wrapper' | 'lifecycle' | 'retirement' | 'emit'>;

/**
 * Marks a data key as compromised. An active one is replaced first, in the same transaction, so that
 * there is no moment without a key to write with; its rows can still be read, to be re-encrypted.
 * Revoking a compromised key again only records it again. Nothing that was written into the row by hand is
 * a reason to refuse: a revocation only takes away.
 *
 * @throws {@link KeyNotFoundError}, {@link KeyStateError} for a destroyed key or the index root,
 * {@link KmsUnavailableError} when a replacement cannot be made; nothing was changed then
 */
export function revokeKey<C>(
  services: Services<C>,
  id: string,
  replace: boolean,
): Promise<Revoked> {
  return retryConflicts(
    () => tryToRevoke(services, id, replace),
    () => changedMeanwhile(id),
  );
}

async function tryToRevoke<C>(
  services: Services<C>,
  id: string,
  replace: boolean,
): Promise<Revoked | undefined> {
  const record = await services.retirement.find(id);
  requireRevocable(record);
  if (record.state === 'compromised') return recordAgain(services, record);
  const isProven = await proofOf(services, record, replace);
  const replacement = replace ? await replacementOf(services, record, isProven) : undefined;
  const done = replacement !== undefined || (await markCompromised(services, record, isProven));
  const after = await services.retirement.find(id);
  if (!done || after.state !== 'compromised') return undefined;
  const { purpose, name: keyName, version } = record;
  services.emit({ type: 'keyRevoked', purpose, keyId: id, keyName, version });
  if (replace) await services.retirement.sealRevoked(after, record);
  return { record: after, replacement, isProven };
}

/** The log may have been unavailable when it was to be recorded the first time. */
async function recordAgain<C>({ store }: Services<C>, record: KeyRecord): Promise<Revoked> {
  const { compromisedAt, stateMac, epoch } = record;
  const set = { state: 'compromised', compromisedAt, stateMac, epoch } as const;
  await store.apply([{ type: 'update', expected: record, set }]);
  return { record, replacement: undefined, isProven: undefined };
}

/** Asks the KMS only where it is needed anyway: to replace the key. */
async function proofOf<C>(
  { wrapper }: Services<C>,
  record: KeyRecord,
  replace: boolean,
): Promise<boolean | undefined> {
  if (!isKnownState(record.state)) return false;
  if (!replace || record.state !== 'active') return undefined;
  return isGenuine(wrapper, record);
}

async function replacementOf<C>(
  { store, lifecycle }: Services<C>,
  { id, name, purpose, state }: KeyRecord,
  isProven = true,
): Promise<CreatedKey | undefined> {
  // A row with a made-up purpose is nobody's active key.
  if (state !== 'active' || purpose !== 'data') return undefined;
  // Without the unique index there may be another active row. Revoking must not depend on which it is.
  const current = await store.findCurrent('data', [name]);
  if (current.some((other) => other.state === 'active' && other.id !== id)) return undefined;
  // Only this version: one that another process has put in its place meanwhile is not compromised.
  const replacement = await lifecycle
    .rotate(name, { id, isProven })
    .catch((error: unknown) => withoutReplacement(id, error));
  return replacement.record.id === id ? undefined : replacement;
}

/** Where no key opens, a wrong passphrase looks like an edited table: that is for people to decide. */
function withoutReplacement(keyId: string, cause: unknown): never {
  if (!(cause instanceof KeyUnwrapError)) throw cause;
  throw new KeyUnwrapError(
    `${cause.message} No other active key opens either, so that no replacement can be made. To take the ` +
      `key out of use without one: field-encryption keys revoke ${keyId} --no-replacement (replace: false).`,
    { keyId, cause },
  );
}

async function markCompromised<C>(
  { store, wrapper }: Services<C>,
  record: KeyRecord,
  isProven = true,
): Promise<boolean> {
  const compromisedAt = wholeSecond(await store.now());
  const deactivatedAt = record.state === 'active' ? compromisedAt : record.deactivatedAt;
  const change = { state: 'compromised', compromisedAt, deactivatedAt } as const;
  const set = unprovenChange(change, wrapper.epochs.next(record));
  return store.apply([{ type: 'update', expected: record, set, isProven }]);
}

/** @throws {@link KeyStateError} for a destroyed key, and for one that is no data key */
export function requireRevocable(
  record: Pick<KeyRecord, 'id' | 'name' | 'version' | 'state' | 'purpose'>,
): void {
  requireDataKey(record, 'revoked');
  // A made-up state is no reason to leave the key in use.
  if (record.state === 'compromised' || !isKnownState(record.state)) return;
  requireTransition(record, 'compromised');
}
