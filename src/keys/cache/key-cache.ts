import { ConfigurationError } from '../../errors';
import type { DataKey } from '../key-source';

/** How long keys stay in memory (`FieldEncryptionOptions.keyCache`). */
export interface KeyCacheOptions {
  /**
   * Milliseconds after which a key is refreshed in the background, and so how long a rotation or a
   * revocation may take to reach this process. Defaults to 60,000.
   */
  readonly ttlMs?: number | undefined;
  /**
   * Milliseconds after which a key that was not confirmed is no longer used, and so how long an outage of
   * the KMS or the key table goes unnoticed. Defaults to 900,000.
   */
  readonly maxAgeMs?: number | undefined;
  /**
   * Milliseconds for which a caller that holds a database connection, such as one in a transaction,
   * waits for the KMS, counted from the start of a request that it shares with others. It then gets a
   * retryable `KmsUnavailableError`, and the key goes on loading. Other callers hold no connection while
   * they wait for the KMS. Defaults to 3,000.
   */
  readonly transactionWaitMs?: number | undefined;
}

/** The checked limits of the cache. */
export interface KeyCachePolicy {
  readonly ttlMs: number;
  readonly maxAgeMs: number;
  readonly transactionWaitMs: number;
}

/** @throws {@link ConfigurationError} unless all are positive and finite, and `maxAgeMs` no less than `ttlMs` */
export function keyCachePolicy(options: KeyCacheOptions = {}): KeyCachePolicy {
  const { ttlMs = 60_000, maxAgeMs = Math.max(ttlMs, 900_000) } = options;
  if (!(ttlMs > 0 && ttlMs <= maxAgeMs && maxAgeMs < Infinity)) {
    throw new ConfigurationError(
      `keyCache: got ttlMs ${String(ttlMs)} and maxAgeMs ${String(maxAgeMs)}, want ` +
        '0 < ttlMs <= maxAgeMs, in milliseconds.',
    );
  }
  const { transactionWaitMs = 3_000 } = options;
  if (!(transactionWaitMs > 0 && transactionWaitMs < Infinity)) {
    throw new ConfigurationError(
      `keyCache.transactionWaitMs: got ${String(transactionWaitMs)}, want a positive number of milliseconds.`,
    );
  }
  return Object.freeze({ ttlMs, maxAgeMs, transactionWaitMs });
}

interface CachedKey {
  readonly key: DataKey;
  /** When the table and the KMS were asked for it, on the manager's clock. */
  readonly confirmedAt: number;
  /** Set by every use, cleared when eviction passes by: "second chance", LRU without moving entries. */
  used: boolean;
}

/**
 * A bounded cache of data keys, by ciphertext prefix.
 *
 * Forgetting a key is all that can be done to it from JavaScript: its bytes live outside the heap
 * and are cleared by OpenSSL, libsodium or the add-on when the last reference is collected.
 */
export class KeyCache {
  readonly #entries = new Map<string, CachedKey>();
  readonly #capacity: number;

  /** @param capacity - in keys; exceeded only by a larger batch. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Milliseconds since the key was last confirmed; Infinity for one that is not in memory. */
  age(prefix: string, now: number): number {
    const entry = this.#entries.get(prefix);
    return entry === undefined ? Infinity : now - entry.confirmedAt;
  }

  /** Returns the key if it was confirmed after `time`. Counts as a use. */
  getConfirmedAfter(prefix: string, time: number): DataKey | undefined {
    const entry = this.#entries.get(prefix);
    if (entry === undefined || entry.confirmedAt <= time) return undefined;
    entry.used = true;
    return entry.key;
  }

  /**
   * Adds keys that are about to be used together, so that none of them evicts another. One that was confirmed
   * later already stays as it is.
   *
   * @param confirmedAt - when they were asked for, on the manager's clock.
   */
  add(added: readonly DataKey[], confirmedAt: number): void {
    const keys = added.filter(({ prefix }) => this.age(prefix, confirmedAt) >= 0);
    for (const key of keys) this.#entries.delete(key.prefix);
    this.#makeRoom(keys.length);
    for (const key of keys) this.#entries.set(key.prefix, { key, confirmedAt, used: false });
  }

  delete(prefix: string): void {
    this.#entries.delete(prefix);
  }

  /** Forgets the keys that were confirmed at `time` or before. */
  dropConfirmedBy(time: number): void {
    for (const [prefix, entry] of this.#entries) {
      if (entry.confirmedAt <= time) this.#entries.delete(prefix);
    }
  }

  clear(): void {
    this.#entries.clear();
  }

  #makeRoom(count: number): void {
    for (const [prefix, entry] of this.#entries) {
      if (this.#entries.size + count <= this.#capacity) return;
      this.#entries.delete(prefix);
      if (!entry.used || count >= this.#capacity) continue;
      // Moved to the end, where this loop meets it again if all others were used, too.
      entry.used = false;
      this.#entries.set(prefix, entry);
    }
  }
}
