import {
  FieldEncryptionError,
  KeyNotFoundError,
  KeyStateError,
  KmsUnavailableError,
} from '../../errors';
import { isProven, provenChange, requireProvenDates, takesAway } from '../record/key-macs';
import type { StateAuthenticator } from '../record/key-macs';
import { aboutUnreadable, keyTitle, wholeSecond } from '../record/key-record';
import type { KeyRecord } from '../record/key-record';
import type { KeyStore } from '../store/key-store';
import { endOfWait } from '../store/watched-key-store';
import type { KeyWrapper } from '../wrapping/key-wrapper';

import { changedMeanwhile } from './compare-and-swap';

/** The proofs about keys that are out of use: of their rows, and of the time since their last use. */
export class KeyRetirement<C> {
  readonly #store: KeyStore<C>;
  readonly #wrapper: KeyWrapper;

  constructor(store: KeyStore<C>, wrapper: KeyWrapper) {
    this.#store = store;
    this.#wrapper = wrapper;
  }

  /** @throws {@link KeyNotFoundError} */
  async find(id: string): Promise<KeyRecord> {
    const [record] = await this.#store.findByIds([id]);
    if (record !== undefined) return record;
    throw new KeyNotFoundError(`key ${id} is not in the key table. See the list of keys.`, {
      keyId: id,
    });
  }

  /**
   * Returns a record that proves all it says: that it is the row of its key, its state, and its dates.
   * A revocation without the KMS left dates that anybody could have written: they become now.
   *
   * @throws what unwrapping throws, and {@link KeyStateError} for dates that were edited
   */
  async proven(record: KeyRecord): Promise<KeyRecord> {
    return this.dated(record, await this.prove(record));
  }

  /** Proves a record and changes nothing. Throws what {@link KeyRetirement.proven} does. */
  async prove(record: KeyRecord): Promise<StateAuthenticator> {
    const { authenticateState } = await this.#wrapper.unwrapToRead(record);
    if (takesAway(record.state)) requireProvenDates(record, authenticateState);
    return authenticateState;
  }

  /**
   * {@link KeyRetirement.prove} for a key that is to be erased.
   *
   * @returns undefined for one that proves nothing, where `evenUnproven` allows that.
   * @throws {@link KeyStateError} where it does not, {@link KmsUnavailableError}
   */
  async proveErasable(
    record: KeyRecord,
    evenUnproven: boolean,
  ): Promise<StateAuthenticator | undefined> {
    try {
      return await this.prove(record);
    } catch (error) {
      if (!(error instanceof FieldEncryptionError)) throw error;
      if (error instanceof KmsUnavailableError) throw error;
      if (!evenUnproven) throw provesNothing(record, error);
      return undefined;
    }
  }

  /** Returns a record whose dates are proven: from now on, where they were only claimed. */
  async dated(record: KeyRecord, authenticate: StateAuthenticator): Promise<KeyRecord> {
    return isClaim(record) ? this.#seal(record, authenticate) : record;
  }

  /**
   * Proves a revocation that was made without the KMS, now that the key was unwrapped. Waits count from
   * now. Never rejects: where it fails, the next process that loads the key does it.
   */
  async seal(record: KeyRecord, authenticate: StateAuthenticator): Promise<void> {
    if (isClaim(record)) await this.#seal(record, authenticate).catch(() => undefined);
  }

  /**
   * {@link KeyRetirement.seal} right after the revocation, so that waits count from then, or from the deactivation that
   * the row proved before it.
   */
  async sealRevoked(record: KeyRecord, before: KeyRecord): Promise<void> {
    if (!isClaim(record)) return;
    try {
      const { authenticateState } = await this.#wrapper.unwrapToRead(record);
      const since = isProven(before, authenticateState) ? before.deactivatedAt : null;
      await this.#seal(record, authenticateState, since);
    } catch {
      // The revocation stands without: it needs no KMS.
    }
  }

  /**
   * Refuses a key that a process may still write with.
   *
   * @throws {@link KeyStateError}, retryable; not retryable for a date that cannot be read, or was edited
   * of a compromised key; and what unwrapping that throws
   */
  async requireAtRest(record: KeyRecord, graceMs: number): Promise<void> {
    const isToBeProven = graceMs > 0 && record.state === 'compromised';
    await this.requireWaited(isToBeProven ? await this.proven(record) : record, graceMs);
  }

  /** {@link KeyRetirement.requireAtRest} for a record whose dates are proven. */
  async requireWaited(record: KeyRecord, graceMs: number): Promise<void> {
    const now = await this.#store.now();
    const atRest = atRestFrom(record, graceMs, now);
    const { deactivatedAt } = record;
    if (deactivatedAt === null || atRest === null || now >= atRest) return;
    throw new KeyStateError(
      `${keyTitle(record)} was active until ${deactivatedAt.toISOString()}, and a process may still write with it ` +
        `until ${atRest.toISOString()}, by the clock of the database. Try again then; or, where no other process can have the key, ` +
        'with `--grace 0` (`graceMs: 0`).',
      { keyId: record.id, retryable: true },
    );
  }

  /** @param since - when it was deactivated, where that is proven; `null` for now. */
  async #seal(
    record: KeyRecord,
    authenticate: StateAuthenticator,
    since: Date | null = null,
  ): Promise<KeyRecord> {
    const deactivatedAt = since ?? wholeSecond(await this.#store.now());
    const epoch = this.#wrapper.epochs.next(record);
    const set = provenChange(authenticate, record, { deactivatedAt }, epoch);
    if (await this.#store.apply([{ type: 'update', expected: record, set }])) {
      return { ...record, ...set };
    }
    throw changedMeanwhile(record.id);
  }
}

/** Whether a row only claims to be revoked: that needs no proof, and so its dates have none. */
function isClaim({ state, stateMac }: KeyRecord): boolean {
  return state === 'compromised' && stateMac.length === 0;
}

/**
 * The time from which nobody writes with a key, as far as its row says; `null` where there is nothing to
 * wait for. A revocation that is not proven yet counts from now.
 *
 * @throws {@link KeyStateError} for a date that cannot be read
 */
export function atRestFrom(record: KeyRecord, graceMs: number, now: Date): Date | null {
  if (graceMs === 0) return null;
  const since = isClaim(record) ? now : record.deactivatedAt;
  if (since !== null) return endOfWait(since, graceMs);
  if (!(record.unreadable?.includes('deactivated_at') ?? false)) return null;
  throw new KeyStateError(
    `${keyTitle(record)}: no wait can be counted.${aboutUnreadable(record)} Restore the row from a backup; or, ` +
      'where no process has the key in memory any more, destroy it with `--grace 0` (`graceMs: 0`).',
    { keyId: record.id },
  );
}

/** Such a row could have another key erased than the one it names, or one that is still written with. */
function provesNothing(record: KeyRecord, cause: FieldEncryptionError): KeyStateError {
  return new KeyStateError(
    `${keyTitle(record)} is not erased, for its row does not prove what it says: ${cause.message} Where nothing ` +
      'needs the row as it is and no process has its key in memory, destroy it with `--grace 0` (`graceMs: 0`): every ' +
      'encrypted column and blind index is then counted for it.',
    { keyId: record.id, cause },
  );
}
