import type { DataKey, IndexRoots } from '../key-source';

import type { ActiveKey, ActiveKeys } from './active-keys';
import { waitedTooLong } from './failed-keys';

/** The keys in memory and their maximum age, which decide whether a key may still be used. */
export interface KeyAges {
  readonly dataKeys: ActiveKeys<DataKey>;
  readonly indexRoots: ActiveKeys<IndexRoots>;
  readonly maxAgeMs: number;
  /** Read anew at each call, since the process may have been stopped a moment ago. */
  readonly clock: () => number;
}

/**
 * The keys that a statement was made with. It may wait for a connection, or its process be stopped, for so
 * long that they are out of use, or even erased, by the time it can be sent.
 */
export class UsedKeys {
  readonly #ages: KeyAges;
  /** With the uses that were pending when the key was handed out. */
  readonly #data = new Map<ActiveKey<DataKey>, number>();
  readonly #index = new Set<ActiveKey<IndexRoots>>();

  constructor(ages: KeyAges) {
    this.#ages = ages;
  }

  get isEmpty(): boolean {
    return this.#data.size + this.#index.size === 0;
  }

  addDataKey(key: ActiveKey<DataKey>): void {
    if (!this.#data.has(key)) this.#data.set(key, key.key.uses.pending);
  }

  addIndexRoots(roots: ActiveKey<IndexRoots>): void {
    this.#index.add(roots);
  }

  /** Takes back the uses of work that was synchronous until now, and whose values nobody will store. */
  uncount(): void {
    for (const [{ key }, pending] of this.#data) key.uses.pending = pending;
  }

  copy(): UsedKeys {
    const copy = new UsedKeys(this.#ages);
    copy.addAll(this);
    return copy;
  }

  /** Adds the keys of another set. */
  addAll(used: UsedKeys): void {
    for (const [key, pending] of used.#data) {
      if (!this.#data.has(key)) this.#data.set(key, pending);
    }
    for (const roots of used.#index) this.#index.add(roots);
  }

  /** The prefixes of the ciphertexts that were made with these keys. */
  get dataPrefixes(): string[] {
    return [...this.#data.keys()].map(({ key }) => key.prefix);
  }

  /** Ids of keys whose rows may be rolled back before the statement is sent. */
  get vanishing(): string[] {
    return [...this.#data.keys(), ...this.#index]
      .filter((key) => key.mayVanish)
      .map(({ id }) => id);
  }

  /** The time until which the statement may be sent, by the clock of the database. */
  get usableUntil(): number {
    return Math.min(...[...this.#data.keys(), ...this.#index].map((key) => key.usableUntil));
  }

  /**
   * Refuses keys past their maximum age, unless they have been confirmed again as the same keys.
   *
   * @throws {@link KeyStateError}, retryable
   */
  requireUsable(): void {
    const { dataKeys, indexRoots, maxAgeMs, clock } = this.#ages;
    const now = clock();
    const isFresh = (key: ActiveKey<unknown>): boolean => now - key.confirmedAt < maxAgeMs;
    for (const key of this.#data.keys()) {
      if (isFresh(key)) continue;
      const current = dataKeys.get(key.name);
      if (current?.id !== key.id || !isFresh(current)) throw waitedTooLong(key.id, maxAgeMs);
    }
    for (const roots of this.#index) {
      if (isFresh(roots)) continue;
      const current = indexRoots.get(roots.name);
      if (current === undefined || !isFresh(current) || !covers(roots, current)) {
        throw waitedTooLong(roots.id, maxAgeMs);
      }
    }
  }
}

/** Whether tokens made with some roots equal those of now: the same root is first, and none is missing. */
function covers(used: ActiveKey<IndexRoots>, current: ActiveKey<IndexRoots>): boolean {
  return used.id === current.id && current.key.every(({ id }) => used.key.some((r) => r.id === id));
}
