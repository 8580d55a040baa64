import { createHash } from 'node:crypto';

import type { KeyServices } from '../key-services';
import type { KeyInfo } from '../record/key-info';
import { unprovenChange } from '../record/key-macs';
import { wholeSecond } from '../record/key-record';
import type { KeyRecord } from '../record/key-record';
import { proveRows } from '../wrapping/row-proofs';

import { changedMeanwhile } from './compare-and-swap';
import { isUnneeded, stillNeeded } from './encrypted-rows';
import type { ColumnUse, EncryptedRows } from './encrypted-rows';
import { requireTransition, sealsTheLog } from './key-transition';

/** Options of `destroy`. */
export interface DestroyOptions {
  /**
   * Refuses a key that was active less than this many milliseconds ago, by the clock of the database,
   * and for 31 seconds longer. Defaults to `keyCache.maxAgeMs`: until then a process may write with it.
   * If other processes have a longer one, pass theirs. 0 waits for nothing: use it for a key that no other
   * process can have in memory. Only then can a key be destroyed whose row does not prove itself.
   */
  graceMs?: number;
  /**
   * Milliseconds to wait for open transactions on encrypted tables, which may hold rows under the key.
   * Defaults to 30,000. On SQLite there is nothing to wait for.
   */
  waitMs?: number;
}

/** A key that was destroyed, with the proof. */
export interface DestroyedKey {
  readonly key: KeyInfo;
  readonly previousState: KeyRecord['state'];
  /** SHA-256, in hexadecimal, of the wrapped key that was erased: identifies copies of it in backups. */
  readonly wrappedKeySha256: string;
  /** Every encrypted column, counted in the transaction that erased the key; none has a row under it. */
  readonly columns: readonly ColumnUse[];
}

/** {@link DestroyedKey} as a record. */
interface Destroyed extends Omit<DestroyedKey, 'key'> {
  readonly record: KeyRecord;
}

/** How a key is to be destroyed. */
interface Destruction {
  /** Milliseconds for which a process may still write with a key after its deactivation. */
  readonly graceMs: number;
  /** The caller vouches that no process has the key, so that its row need not prove itself. */
  readonly evenUnproven: boolean;
}

type Services<C> = Pick<KeyServices<C>, 'store' | 'wrapper' | 'retirement' | 'emit'>;

/**
 * Erases a wrapped key and leaves its row as a tombstone.
 *
 * @param rows - may be under the key: their writers are waited for, and then they are counted in the
 * transaction that erases.
 * @throws {@link KeyStateError} for an active key, one that rows need, and one whose row does not prove
 * itself; retryable for one within its grace period, and while others have transactions open in which
 * they may have written
 * @throws {@link KeyNotFoundError}, {@link KmsUnavailableError}
 */
export async function destroyKey<C>(
  services: Services<C>,
  id: string,
  { graceMs, evenUnproven }: Destruction,
  rows: EncryptedRows<C>,
): Promise<Destroyed> {
  const { retirement } = services;
  const found = await retirement.find(id);
  if (found.purpose === 'audit') throw sealsTheLog(id);
  requireTransition(found, 'destroyed');
  const authenticate = await retirement.proveErasable(found, evenUnproven);
  if (authenticate === undefined) {
    await rows.refreshRoots();
    return erase(services, found, rows, await provenIds(services));
  }
  const record = await retirement.dated(found, authenticate);
  await retirement.requireWaited(record, graceMs);
  return erase(services, record, rows);
}

/** Destroyed keys are left out: somebody may have written that state into their rows. */
async function provenIds<C>({ store, wrapper }: Services<C>): Promise<ReadonlySet<string>> {
  const living = (await store.list()).filter(({ state }) => state !== 'destroyed');
  const { unproven, undecided } = await proveRows(wrapper, living);
  const others = new Set([...unproven, ...undecided].map(({ keyId }) => keyId));
  return new Set(living.map(({ id }) => id).filter((id) => !others.has(id)));
}

/** @param proven - ids of the keys that prove themselves, for a record that does not. */
async function erase<C>(
  { store, wrapper, emit }: Services<C>,
  record: KeyRecord,
  rows: EncryptedRows<C>,
  proven?: ReadonlySet<string>,
): Promise<Destroyed> {
  const { id, purpose, name: keyName, version } = record;
  // From here on nobody writes with it any more, and the count is to see what was written.
  await rows.writersToEnd(record);
  const destroyedAt = wholeSecond(await store.now());
  const tombstone = { state: 'destroyed', destroyedAt, wrapped: new Uint8Array() } as const;
  const set = unprovenChange(tombstone, wrapper.epochs.next(record));
  let columns: readonly ColumnUse[] = [];
  const erased = await store.apply(
    [{ type: 'update', expected: record, set, isProven: proven === undefined }],
    async (connection) => {
      columns = await rows.count({ id, name: keyName, purpose, provenIds: proven }, connection);
      return isUnneeded(columns);
    },
  );
  if (!isUnneeded(columns)) throw stillNeeded(record, columns, proven === undefined);
  if (!erased) throw changedMeanwhile(id);
  emit({ type: 'keyDestroyed', purpose, keyId: id, keyName, version });
  return {
    record: { ...record, ...set },
    previousState: record.state,
    wrappedKeySha256: createHash('sha256').update(record.wrapped).digest('hex'),
    columns,
  };
}
