import type { KeyObject } from 'node:crypto';

import type { Aead, CipherSuite } from '../crypto/aead';
import type { NativeDataKey } from '../crypto/native';

import type { UseCounter } from './store/key-uses';

/** A data key that is ready for use. Holds no readable key bytes. */
export interface DataKey {
  /** 16 lower-case hexadecimal digits. */
  readonly id: string;
  /** Name of the key that this is a version of, such as `default`. */
  readonly name: string;
  readonly version: number;
  /** The one algorithm this key is for. */
  readonly suite: CipherSuite;
  /** Whether nobody but who can use the KMS can have made it; if not, it is for reading alone. */
  readonly isAuthenticated: boolean;
  /** The 12 base64url characters with which every ciphertext under this key begins in a text column. */
  readonly prefix: string;
  /** The 9 bytes with which it begins in a binary column. */
  readonly header: Uint8Array;
  readonly aead: Aead;
  /** The same key in the add-on, for whole values; where there is none, `aead` does them. */
  readonly native: NativeDataKey | undefined;
  /** To be incremented with every value that is encrypted. */
  readonly uses: UseCounter;
}

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
