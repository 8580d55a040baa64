import type { KeyObject } from 'node:crypto';

import type { DataKey } from './data-key';

/** The key that every blind-index key is derived from; independent of the data keys. */
export interface IndexRoot {
  readonly id: string;
  /** Derives the HMAC-SHA-256 key of one index; the same `info` gives the same key. */
  deriveIndexKey(info: Uint8Array): KeyObject;
}

/**
 * The roots of which stored tokens may be: that of new tokens first, then those that are announced
 * or replaced. One until the index key is rotated.
 */
export type IndexRoots = readonly [current: IndexRoot, ...others: IndexRoot[]];

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
  /**
   * The same array until a root was confirmed or changed, so that what is derived may be kept with it.
   *
   * @throws the same errors as {@link KeySource.activeKey}
   */
  indexRoots(): IndexRoots;
}
