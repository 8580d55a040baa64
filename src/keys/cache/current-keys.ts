import { ConfigurationError, KeyUnwrapError, KmsUnavailableError } from '../../errors';
import type { KeyServices } from '../key-services';
import type { DataKey, IndexRoot, IndexRoots } from '../key-source';
import { INDEX_ROOT_NAME } from '../record/key-record';
import type { KeyPurpose } from '../record/key-record';
import { NoActiveKeyError } from '../record/key-versions';
import type { CreatedKey } from '../wrapping/key-wrapper';
import { requireApproved } from '../wrapping/unwrapped-key';

import { ActiveKeys } from './active-keys';
import type { ActiveKey } from './active-keys';
import { FailedKeys, loadFailed, notConfirmedInTime, typedFailure } from './failed-keys';
import type { KeyRing } from './key-ring';
import { UsedKeys } from './used-keys';
import type { KeyAges } from './used-keys';

/** Names a key for new values or tokens. */
export interface CurrentKey {
  readonly purpose: 'data' | 'index';
  readonly name: string;
}

/** The state of an active key in memory. */
export interface KeyStanding extends CurrentKey {
  /** `null` where none is in memory. */
  readonly version: number | null;
  /** Milliseconds until it is due for a refresh. */
  readonly freshForMs: number;
  /** Milliseconds for which it can be used. */
  readonly usableForMs: number;
  /** Why the last attempt to load it failed; undefined if it did not. */
  readonly failure: unknown;
  /** Whether an operator has taken it out of use: nothing is encrypted with it, and all can be read. */
  readonly isStopped: boolean;
}

/** The earliest time that a read of keys may date from. */
export interface Confirmation {
  /** On the services' clock. */
  readonly confirmedAt: number;
  /** In milliseconds since 1970, by the clock of the database. */
  readonly databaseTime: number;
}

type Services = Pick<KeyServices<unknown>, 'profile' | 'policy' | 'clock' | 'exactClock' | 'emit'>;

/** The keys in memory for new values and tokens, and the reasons why others are missing. Does no I/O. */
export class CurrentKeys {
  readonly #services: Services;
  readonly #ring: Pick<KeyRing<unknown>, 'add'>;
  readonly #dataKeys = new ActiveKeys<DataKey>();
  readonly #indexRoots = new ActiveKeys<IndexRoots>();
  readonly #failures = new FailedKeys();
  /** Collects the keys in use during {@link CurrentKeys.noting}. */
  used: UsedKeys | undefined;
  readonly #ages: KeyAges;

  /** @param ring - receives every data key that is confirmed, for reading. */
  constructor(services: Services, ring: Pick<KeyRing<unknown>, 'add'>) {
    this.#services = services;
    this.#ring = ring;
    this.#ages = {
      dataKeys: this.#dataKeys,
      indexRoots: this.#indexRoots,
      maxAgeMs: services.policy.maxAgeMs,
      clock: services.exactClock,
    };
  }

  dataKey(name: string): DataKey {
    const held = this.#usable('data', name, this.#dataKeys);
    this.used?.addDataKey(held);
    requireApproved(this.#services.profile, held.key);
    return held.key;
  }

  indexRoots(): IndexRoots {
    const held = this.#usable('index', INDEX_ROOT_NAME, this.#indexRoots);
    this.used?.addIndexRoots(held);
    return held.key;
  }

  /** The greatest age among these keys; Infinity if one is not in memory. Allocates nothing. */
  oldestAge(names: readonly string[], index: boolean, now: number): number {
    let oldest = index ? this.#indexRoots.age(INDEX_ROOT_NAME, now) : 0;
    for (const name of names) oldest = Math.max(oldest, this.#dataKeys.age(name, now));
    return oldest;
  }

  /** Milliseconds since a key was last confirmed; Infinity for one that is not in memory. */
  age({ purpose, name }: CurrentKey, now = this.#services.clock()): number {
    return this.#keysFor(purpose).age(name, now);
  }

  /** The key in memory, whatever its age. */
  get({ purpose, name }: CurrentKey): ActiveKey<DataKey> | ActiveKey<IndexRoots> | undefined {
    return this.#keysFor(purpose).get(name);
  }

  /** Describes a key. */
  standing(purpose: 'data' | 'index', name: string): KeyStanding {
    const { ttlMs, maxAgeMs } = this.#services.policy;
    const key = { purpose, name };
    const age = this.age(key);
    const failure = this.#failures.error(slot(key));
    return {
      ...{ name, purpose, version: this.get(key)?.version ?? null },
      freshForMs: Math.max(0, Math.floor(ttlMs - age)),
      usableForMs: Math.max(0, Math.floor(maxAgeMs - age)),
      failure,
      isStopped: purpose === 'data' && failure instanceof NoActiveKeyError,
    };
  }

  /** See `KeyManager.noting`. */
  noting<T>(work: () => T): readonly [T, UsedKeys] {
    const outer = this.used;
    const used = new UsedKeys(this.#ages);
    this.used = used;
    try {
      return [work(), used];
    } finally {
      this.used = outer;
      outer?.addAll(used);
    }
  }

  /**
   * Makes a committed key the active one in memory.
   *
   * @param others - the roots beside an index root that stored tokens may come from.
   */
  accept(
    { record, unwrapped }: CreatedKey,
    { confirmedAt, databaseTime }: Confirmation,
    others: readonly IndexRoot[] = [],
  ): void {
    const { id, name, version, epoch, purpose } = record;
    if (this.#keysFor(purpose).isOutdated(name, confirmedAt)) return;
    const held = { id, name, version, epoch, confirmedAt };
    const usableUntil = databaseTime + this.#services.policy.maxAgeMs;
    if (unwrapped.purpose === 'index') {
      const key: IndexRoots = [unwrapped.key, ...others];
      this.#indexRoots.accept({ ...held, key, usableUntil });
    } else if (unwrapped.purpose === 'data') {
      const { key } = unwrapped;
      this.#dataKeys.accept({ ...held, key, usableUntil });
      this.#ring.add(key, confirmedAt);
    }
    this.#failures.forget(slot({ purpose, name }));
  }

  /** {@link CurrentKeys.accept} for a key that this process has just made active: its row says when. */
  acceptActivated(created: CreatedKey): void {
    const { activatedAt, createdAt } = created.record;
    // The date is cut to the second. Waits for other processes to notice allow for that.
    const databaseTime = (activatedAt ?? createdAt).getTime() + 1000;
    this.accept(created, { confirmedAt: this.#services.clock(), databaseTime });
  }

  /** Uses no key of this name until one is confirmed, for this reason. */
  withdraw(key: CurrentKey, reason: Error): void {
    this.#keysFor(key.purpose).drop(key.name, this.#services.clock());
    this.#remember(key, reason);
  }

  /** Stops using this key, which may have been the active one when it was last confirmed. */
  retire(keyId: string): void {
    const now = this.#services.clock();
    this.#dataKeys.dropKey(keyId, now);
    this.#indexRoots.dropKey(keyId, now);
  }

  /** Uses no key before it is confirmed anew. */
  retireAll(): void {
    const now = this.#services.clock();
    this.#dataKeys.dropAll(now);
    this.#indexRoots.dropAll(now);
  }

  /** Forgets the keys that were confirmed at `time` or before. */
  dropConfirmedBy(time: number): void {
    this.#dataKeys.dropConfirmedBy(time);
    this.#indexRoots.dropConfirmedBy(time);
  }

  /** Remembers why keys could not be loaded, and emits an event for each. */
  noteFailures(keys: readonly CurrentKey[], failure: unknown): void {
    for (const key of keys) {
      this.#remember(key, failure);
      this.#services.emit(loadFailed(key.purpose, { name: key.name }, failure));
    }
  }

  /** Remembers a reason that may pass at any moment, so that nobody has to wait when it does. */
  notePassing(keys: readonly CurrentKey[], reason: unknown): void {
    for (const key of keys) this.#failures.remember(slot(key), reason, -Infinity);
  }

  /** Why the KMS did not give one of these keys a moment ago. Asking again would only add to its load. */
  recentKmsFailure(keys: readonly CurrentKey[], now: number): Error | undefined {
    const failed = keys.map(slot).find((each) => this.#failures.hasJustFailed(each, now));
    const failure = failed === undefined ? undefined : this.#failures.error(failed);
    return isOfKms(failure) ? failure : undefined;
  }

  /** Forgets every key. */
  clear(): void {
    this.#dataKeys.clear();
    this.#indexRoots.clear();
    this.#failures.clear();
  }

  #remember(key: CurrentKey, failure: unknown): void {
    this.#failures.remember(slot(key), failure, this.#services.clock());
  }

  #keysFor(purpose: KeyPurpose): ActiveKeys<DataKey> | ActiveKeys<IndexRoots> {
    return purpose === 'data' ? this.#dataKeys : this.#indexRoots;
  }

  #usable<T>(purpose: 'data' | 'index', name: string, keys: ActiveKeys<T>): ActiveKey<T> {
    const { clock, policy } = this.#services;
    const held = keys.get(name);
    if (held !== undefined && clock() - held.confirmedAt < policy.maxAgeMs) return held;

    const label = purpose === 'data' ? `key "${name}"` : 'the blind-index root key';
    const failure = this.#failures.error(slot({ purpose, name }));
    if (failure !== undefined) throw typedFailure(label, failure);
    // Another statement may be about to have it confirmed again.
    if (keys.hasHeld(name)) throw notConfirmedInTime(label, policy.maxAgeMs);
    throw new ConfigurationError(
      `${label} is not in memory. Initialize the DataSource before its encrypted columns are used.`,
    );
  }
}

/** Whether the KMS withheld a key. A fault in the database may be mended at any moment. */
function isOfKms(failure: unknown): failure is Error {
  return (
    failure instanceof KmsUnavailableError ||
    failure instanceof KeyUnwrapError ||
    failure instanceof ConfigurationError
  );
}

function slot({ purpose, name }: { readonly purpose: KeyPurpose; readonly name: string }): string {
  return `${purpose}:${name}`;
}
