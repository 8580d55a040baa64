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
  /**
   * Milliseconds for which a caller who holds a database connection, such as one in a transaction,
   * waits for the KMS, counted from the request that it shares with others. It then gets a retryable
   * `KmsUnavailableError`, and the key goes on loading. Nobody else holds a connection while the KMS is
   * asked. Defaults to 3,000.
   */
  readonly transactionWaitMs?: number | undefined;
}

/** The cache's limits, checked. */
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
