import { ConfigurationError } from '../errors';

/** How long keys stay in memory (`FieldEncryptionOptions.keyCache`). */
export interface KeyCacheOptions {
  /**
   * Milliseconds after which a key is asked for again in the background, and so how long a rotation
   * or a revocation may take to reach this process. Defaults to 60,000.
   */
  readonly ttlMs?: number | undefined;
  /**
   * Milliseconds after which a key is no longer used without the KMS, and so how long an outage of
   * the KMS or the key table goes unnoticed. Defaults to 900,000.
   */
  readonly maxAgeMs?: number | undefined;
}

/** The cache's two limits, checked. */
export interface KeyCachePolicy {
  readonly ttlMs: number;
  readonly maxAgeMs: number;
}

/** @throws {@link ConfigurationError} unless both are positive and finite, the second no less than the first */
export function keyCachePolicy(options: KeyCacheOptions = {}): KeyCachePolicy {
  const { ttlMs = 60_000, maxAgeMs = Math.max(ttlMs, 900_000) } = options;
  if (!(ttlMs > 0 && ttlMs <= maxAgeMs && maxAgeMs < Infinity)) {
    throw new ConfigurationError(
      `keyCache: got ttlMs ${String(ttlMs)} and maxAgeMs ${String(maxAgeMs)}, want ` +
        '0 < ttlMs <= maxAgeMs, in milliseconds.',
    );
  }
  return Object.freeze({ ttlMs, maxAgeMs });
}
