import { KeyStateError } from '../../errors';
import { isProven, takesAway } from '../record/key-macs';
import type { StateAuthenticator } from '../record/key-macs';
import { keyTitle } from '../record/key-record';
import type { KeyRecord } from '../record/key-record';
import { restrictionRank, stateInWords } from '../record/key-state';
import type { KeyState, KnownKey } from '../record/key-state';

import { changedRecord } from './key-change-events';
import type { KeyChange } from './key-store';
import { Restrictions } from './restrictions';

/** The newest proven row of a key. */
interface SeenKey extends KnownKey {
  readonly since: number;
  /** Undefined where it is not known from the row. */
  readonly stateMac: Uint8Array | undefined;
}

/** How far an unproven row may be ahead of all proven ones and still count. */
export const EPOCH_REACH = 2 ** 20;

/** How many keys can be proven without the KMS. */
const MAX_AUTHENTICATORS = 4096;

/**
 * A memory of the rows of the key table, so that an older row which is put back is refused: its MACs are
 * valid, and only its epoch shows its age.
 *
 * Epochs are a Lamport clock: each change of a row takes a number above all that were proven here, the
 * row's own among them. So the epoch of a row only grows, and the compare-and-swap of the key table
 * keeps two processes from giving the same one to a row. Only proven rows move the clock: a number
 * written into the table by hand does not.
 */
export class KeyEpochs {
  readonly #seen = new Map<string, SeenKey>();
  readonly #restrictions = new Restrictions();
  readonly #authenticators = new Map<string, StateAuthenticator>();
  /** The times at which rows were requested. */
  readonly #askedAt = new WeakMap<KeyRecord, number>();
  #newest = 0;
  #revision = 0;
  /** A logical clock, which orders what was seen. */
  #time = 0;

  /** The highest proven epoch. */
  get newest(): number {
    return this.#newest;
  }

  /** Changes with what {@link KeyEpochs.known} gives. */
  get revision(): number {
    return this.#revision;
  }

  /**
   * Returns the epoch for a change.
   *
   * @param unproven - rows that it must also be above, though their epochs are not proven.
   */
  next(...unproven: readonly Pick<KeyRecord, 'epoch'>[]): number {
    return Math.max(this.#newest, ...unproven.map((record) => this.#withinReach(record))) + 1;
  }

  /**
   * Accepts the row of a key that was unwrapped, its state proven or in need of no proof.
   *
   * @throws {@link KeyStateError} where this process has seen a newer one
   */
  accept(record: KeyRecord, authenticate: StateAuthenticator): void {
    const proven = isProven(record, authenticate);
    const newer = this.#newerThan(record, proven);
    if (newer !== undefined) throw cameBack(record, newer, this.#newest);
    if (!this.#authenticators.has(record.id)) this.#keep(record.id, authenticate);
    this.#note(record, proven, proven);
  }

  /** The present moment, for rows that are about to be requested. */
  now(): number {
    return this.#time;
  }

  /**
   * Remembers rows as far as they can be proven without the KMS. Never fails.
   *
   * @param askedAt - when they were requested: rows seen since are no reason to refuse them.
   */
  observe(records: readonly KeyRecord[], askedAt: number): void {
    for (const record of records) {
      this.#askedAt.set(record, askedAt);
      const authenticate = this.#authenticators.get(record.id);
      const proven = authenticate !== undefined && isProven(record, authenticate);
      if (!proven && !takesAway(record.state)) continue;
      if (this.#newerThan(record, proven) === undefined) this.#note(record, proven, proven);
    }
  }

  /** Remembers the changes that this process has committed. */
  committed(changes: readonly KeyChange[]): void {
    for (const change of changes) {
      const record = changedRecord(change);
      this.#note(record, record.stateMac.length > 0, true);
    }
  }

  /**
   * Learns what is known from outside the key table.
   *
   * @param isAnchored - whether a destroyed key is final until an older table is accepted.
   */
  learn(keys: readonly KnownKey[], isAnchored = false): void {
    for (const key of keys) {
      this.#newest = Math.max(this.#newest, key.epoch);
      this.#see({ ...key, stateMac: undefined, since: this.#tick() });
      const isFinal = isAnchored && key.state === 'destroyed';
      if (takesAway(key.state)) {
        this.#restrict({ ...key, isCertain: true, isFinal, since: this.#tick() });
      }
    }
  }

  /** Lets newer rows lift final restrictions up to an epoch, since an older table was accepted. */
  giveUp(acceptedEpoch: number): void {
    this.#restrictions.giveUp(acceptedEpoch);
  }

  /** Returns what is certain of every key that this process has seen. */
  known(): KnownKey[] {
    const keys = new Map<string, KnownKey>();
    for (const { id, epoch, state } of this.#seen.values()) keys.set(id, { id, epoch, state });
    for (const { id, epoch, state } of this.#restrictions.certain()) {
      keys.set(id, { id, epoch: Math.max(epoch, keys.get(id)?.epoch ?? 0), state });
    }
    return [...keys.values()];
  }

  /** The restricting state in which a key was seen. */
  restrictionOf(id: string): KeyState | undefined {
    return this.#restrictions.get(id)?.state;
  }

  /** Forgets everything. */
  clear(): void {
    this.#seen.clear();
    this.#restrictions.clear();
    this.#authenticators.clear();
    this.#newest = 0;
    this.#revision += 1;
  }

  #newerThan(record: KeyRecord, proven: boolean): KnownKey | undefined {
    const askedAt = this.#askedAt.get(record) ?? this.#time;
    const restriction = this.#restrictions.defiedBy(record, proven, askedAt);
    if (restriction !== undefined) return restriction;
    // A row that only takes away is no danger, whatever its age.
    const seen = takesAway(record.state) ? undefined : this.#seen.get(record.id);
    return seen !== undefined && seen.since <= askedAt && isOlder(record, seen) ? seen : undefined;
  }

  #tick(): number {
    this.#time += 1;
    return this.#time;
  }

  #note(record: KeyRecord, proven: boolean, isCertain: boolean): void {
    const { id, state, stateMac } = record;
    const epoch = proven ? record.epoch : this.#withinReach(record);
    const since = this.#tick();
    if (takesAway(state)) this.#restrict({ id, epoch, state, isCertain, since });
    else if (proven) this.#restrictions.lift(id, epoch);
    if (!proven) return;
    this.#newest = Math.max(this.#newest, epoch);
    this.#see({ id, epoch, state, stateMac, since });
  }

  #see(key: SeenKey): void {
    const before = this.#seen.get(key.id);
    if (before === undefined || isNewer(key, before)) {
      this.#revision += 1;
      this.#seen.set(key.id, key);
    } else if (before.stateMac === undefined && before.epoch === key.epoch) {
      this.#seen.set(key.id, { ...before, stateMac: key.stateMac });
    }
  }

  #restrict(restriction: Parameters<Restrictions['add']>[0]): void {
    if (this.#restrictions.add(restriction)) this.#revision += 1;
  }

  /** Ignores an unproven epoch that is far ahead. */
  #withinReach({ epoch }: Pick<KeyRecord, 'epoch'>): number {
    return epoch <= this.#newest + EPOCH_REACH ? epoch : this.#newest;
  }

  #keep(id: string, authenticate: StateAuthenticator): void {
    this.#authenticators.set(id, authenticate);
    for (const oldest of this.#authenticators.keys()) {
      if (this.#authenticators.size <= MAX_AUTHENTICATORS) return;
      this.#authenticators.delete(oldest);
    }
  }
}

function isNewer(key: KnownKey, before: KnownKey): boolean {
  if (key.epoch !== before.epoch) return key.epoch > before.epoch;
  return key.epoch === 0 && restrictionRank(key) > restrictionRank(before);
}

function isOlder(record: KeyRecord, seen: SeenKey): boolean {
  if (record.epoch !== seen.epoch) return record.epoch < seen.epoch;
  // A process of an earlier version may have changed it, without an epoch.
  if (record.epoch === 0) return restrictionRank(record) < restrictionRank(seen);
  // An epoch has one row; another one is from a lost history.
  return seen.stateMac === undefined
    ? record.state !== seen.state
    : !Buffer.from(record.stateMac).equals(seen.stateMac);
}

function cameBack(record: KeyRecord, newer: KnownKey, newest: number): KeyStateError {
  const { id, state, epoch } = record;
  const given = Math.max(newest, newer.epoch);
  return new KeyStateError(
    `${keyTitle(record)}: by its row it is ${stateInWords(state)} at epoch ${String(epoch)}, and ` +
      `it has been ${newer.state} at epoch ${String(newer.epoch)}: an older row was put back. Put the newer ` +
      'one back, or revoke or destroy the key again. If the table was restored on purpose: ' +
      `field-encryption keys accept-epoch ${String(given)} --reason "..."`,
    // A transaction that began before the change reads the older row, too.
    { keyId: id, retryable: true },
  );
}
