import { KeyStateError } from '../../errors';
import { changedRecord } from './key-change-events';
import type { KeyRecord } from '../record/key-record';
import type { KeyState } from '../record/key-state';
import { stateInWords } from '../record/key-state';
import type { StateAuthenticator } from '../record/key-macs';
import { isProven, takesAway } from '../record/key-macs';
import type { KeyChange } from './key-store';
import { keyTitle } from '../record/key-record';

/** What is known of a key beyond its present row. */
export interface KnownKey {
  readonly id: string;
  readonly epoch: number;
  readonly state: KeyState;
}

/** The newest proven row of a key. */
interface SeenKey extends KnownKey {
  readonly since: number;
  /** Undefined where it is known from elsewhere than the row. */
  readonly stateMac: Uint8Array | undefined;
}

/** A state that takes away, from which a key does not come back by itself. */
interface Restriction extends KnownKey {
  readonly since: number;
  /** Whether it is more than what an unproven row claims. */
  readonly isCertain: boolean;
  /** Whether not even a newer proven row lifts it, until the epoch is given up: the anchor says so. */
  readonly isFinal?: boolean;
}

/** By how much an unproven row may be ahead of all proven ones and still be counted from. */
export const EPOCH_REACH = 2 ** 20;

/** How many keys can be proven without the KMS. */
const MAX_AUTHENTICATORS = 4096;

/** Keys of a higher rank do less. */
const RANKS: Readonly<Record<KeyState, number>> = Object.freeze({
  preActive: 0,
  active: 1,
  suspended: 2,
  deactivated: 3,
  compromised: 4,
  destroyed: 5,
});

/**
 * What this process has seen of the rows of the key table, so that an older row which is put back is
 * refused: an old row has the MACs of its time, and nothing but its epoch tells its age.
 *
 * Epochs are a Lamport clock: each change of a row takes a number above all that were proven here, the
 * row's own among them. So the epoch of a row only grows, and the compare-and-swap of the key table
 * keeps two processes from giving the same one to a row. Only proven rows move the clock: a number that
 * somebody writes into the table by hand does not.
 */
export class KeyEpochs {
  readonly #seen = new Map<string, SeenKey>();
  readonly #restricted = new Map<string, Restriction>();
  readonly #authenticators = new Map<string, StateAuthenticator>();
  /** When the rows that are being looked at were asked for. */
  readonly #askedAt = new WeakMap<KeyRecord, number>();
  #newest = 0;
  #revision = 0;
  /** Counts what happened, so that of two things it is known which was first. */
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
   * The epoch for a change.
   *
   * @param unproven - rows that it is to be above of, though nobody has proven theirs.
   */
  next(...unproven: readonly Pick<KeyRecord, 'epoch'>[]): number {
    return Math.max(this.#newest, ...unproven.map((record) => this.#withinReach(record))) + 1;
  }

  /**
   * Takes in the row of a key that was unwrapped, its state proven or in need of no proof.
   *
   * @throws {@link KeyStateError} where this process has seen a newer one
   */
  take(record: KeyRecord, authenticate: StateAuthenticator): void {
    const proven = isProven(record, authenticate);
    const newer = this.#newerThan(record, proven);
    if (newer !== undefined) throw cameBack(record, newer, this.#newest);
    if (!this.#authenticators.has(record.id)) this.#keep(record.id, authenticate);
    this.#note(record, proven, proven);
  }

  /** A moment, for rows that are asked for from now on. */
  now(): number {
    return this.#time;
  }

  /**
   * Takes in rows as far as it can without the KMS; never fails.
   *
   * @param askedAt - the moment from which they may be: what was seen since is no reason to refuse them.
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

  /** Takes in what this process has committed. */
  committed(changes: readonly KeyChange[]): void {
    for (const change of changes) {
      const record = changedRecord(change);
      this.#note(record, record.stateMac.length > 0, true);
    }
  }

  /**
   * Takes in what is known from outside the key table.
   *
   * @param isAnchored - of destroyed keys: whether only the acceptance of an older table lifts it.
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

  /** Lets newer rows lift what is final up to an epoch, for an older table was accepted. */
  giveUp(acceptedEpoch: number): void {
    for (const [id, restriction] of this.#restricted) {
      if (restriction.isFinal === true && restriction.epoch <= acceptedEpoch) {
        this.#restricted.set(id, { ...restriction, isFinal: false });
      }
    }
  }

  /** What is certain of every key that this process has met. */
  known(): KnownKey[] {
    const keys = new Map<string, KnownKey>();
    for (const { id, epoch, state } of this.#seen.values()) keys.set(id, { id, epoch, state });
    for (const { id, epoch, state, isCertain } of this.#restricted.values()) {
      const epochSeen = keys.get(id)?.epoch ?? 0;
      if (isCertain) keys.set(id, { id, epoch: Math.max(epoch, epochSeen), state });
    }
    return [...keys.values()];
  }

  /** The state that takes away in which a key was seen. */
  restrictionOf(id: string): KeyState | undefined {
    return this.#restricted.get(id)?.state;
  }

  /** Forgets everything. */
  clear(): void {
    this.#seen.clear();
    this.#restricted.clear();
    this.#authenticators.clear();
    this.#newest = 0;
    this.#revision += 1;
  }

  #newerThan(record: KeyRecord, proven: boolean): KnownKey | undefined {
    const askedAt = this.#askedAt.get(record) ?? this.#time;
    const restriction = this.#restricted.get(record.id);
    if (restriction !== undefined && restriction.since <= askedAt) {
      const isLifted = proven && record.epoch > restriction.epoch && restriction.isFinal !== true;
      if (rank(record) < rank(restriction) && !isLifted) return restriction;
    }
    // What only takes away gives nobody anything, whatever its age.
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
    else if (proven && epoch > (this.#restricted.get(id)?.epoch ?? epoch)) {
      this.#restricted.delete(id);
    }
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

  #restrict(restriction: Restriction): void {
    const before = this.#restricted.get(restriction.id);
    if (before !== undefined && rank(before) > rank(restriction)) return;
    const isSame = before?.state === restriction.state;
    const isCertain = restriction.isCertain || (isSame && before.isCertain);
    if (!isSame || before.isCertain !== isCertain) this.#revision += 1;
    this.#restricted.set(restriction.id, {
      ...restriction,
      isCertain,
      isFinal: restriction.isFinal === true || before?.isFinal === true,
      epoch: Math.max(restriction.epoch, before?.epoch ?? 0),
      since: before?.since ?? restriction.since,
    });
  }

  /** An unproven epoch that is far ahead says nothing. */
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

/** Whether a key in this state does no more than the other. */
export function isAtLeastAsRestricted(
  key: Pick<KeyRecord, 'state'>,
  other: Pick<KeyRecord, 'state'>,
): boolean {
  return rank(key) >= rank(other);
}

function isNewer(key: KnownKey, before: KnownKey): boolean {
  if (key.epoch !== before.epoch) return key.epoch > before.epoch;
  return key.epoch === 0 && rank(key) > rank(before);
}

function isOlder(record: KeyRecord, seen: SeenKey): boolean {
  if (record.epoch !== seen.epoch) return record.epoch < seen.epoch;
  // A process of an earlier version may have changed it, without an epoch.
  if (record.epoch === 0) return rank(record) < rank(seen);
  // Of one epoch there is one row; another one is of a history that was lost.
  return seen.stateMac === undefined
    ? record.state !== seen.state
    : !Buffer.from(record.stateMac).equals(seen.stateMac);
}

function rank({ state }: { readonly state: KeyState }): number {
  return Object.hasOwn(RANKS, state) ? RANKS[state] : 0;
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
