import type { KeyObject } from 'node:crypto';

import type { DataKey } from './data-key';

/** The key that every blind-index key is derived from; independent of the data keys. */
export interface IndexRoot {
  readonly id: string;
  /** Derives the HMAC-SHA-256 key of one index; the same `info` gives the same key. */
  deriveIndexKey(info: Uint8Array): KeyObject;
}

/**
 * What encrypting and decrypting a field need of the keys, synchronously. Every member answers from
 * memory or throws the error that says why it cannot.
 */
export interface KeySource {
  /**
   * The key that new values of this name are encrypted with.
   *
   * @throws {@link ConfigurationError}, {@link KmsUnavailableError} (retryable), {@link KeyUnwrapError}
   */
  activeKey(name: string): DataKey;
  /**
   * The key that a ciphertext names by its first 12 characters.
   *
   * @throws {@link KeyNotFoundError}, {@link KeyStateError}, {@link KmsUnavailableError}
   */
  keyByPrefix(prefix: string): DataKey;
  /** @throws the same errors as {@link KeySource.activeKey} */
  indexRoot(): IndexRoot;
}
