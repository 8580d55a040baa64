import type { KeyObject } from 'node:crypto';

import type { Aead, CipherSuite } from '../crypto/aead';
import type { NativeDataKey } from '../crypto/native';

import type { Scope } from './record/scope';
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
  /** Whether it can only have been made with the KMS; if not, it is for reading alone. */
  readonly isAuthenticated: boolean;
  /** The 12 base64url characters with which every ciphertext under this key begins in a text column. */
  readonly prefix: string;
  /** The 9 bytes with which it begins in a binary column. */
  readonly header: Uint8Array;
  readonly aead: Aead;
  /** The same key in the add-on, for whole values; `aead` is used where there is none. */
  readonly native: NativeDataKey | undefined;
  /** Must be incremented with every value that is encrypted. */
  readonly uses: UseCounter;
  /** The scope that the key is of; undefined for a common key. */
  readonly scope?: Scope | undefined;
}

/** The key that every blind-index key is derived from; independent of the data keys. */
export interface IndexRoot {
  readonly id: string;
  /** Derives the HMAC-SHA-256 key of one index; the same `info` gives the same key. */
  deriveIndexKey(info: Uint8Array): KeyObject;
}

/**
 * The roots that stored tokens may come from: that of new tokens first, then the announced and the
 * replaced ones. One until the index key is rotated.
 */
export type IndexRoots = readonly [current: IndexRoot, ...others: IndexRoot[]];

/**
 * The keys for the encryption and decryption of fields. Every member returns synchronously from memory, or
 * throws the reason why it cannot.
 */
export interface KeySource {
  /**
   * The key that new values of this name are encrypted with; that of the scope, if one is given.
   *
   * @throws {@link ConfigurationError}, {@link KmsUnavailableError} (retryable), {@link KeyUnwrapError},
   * {@link ErasedError}
   */
  activeKey(name: string, scope?: Scope): DataKey;
  /**
   * The key that a ciphertext names by its first 12 characters.
   *
   * @throws {@link KeyNotFoundError}, {@link KeyStateError}, {@link KmsUnavailableError}
   */
  keyByPrefix(prefix: string): DataKey;
  /**
   * The same array until a root is confirmed anew or changed, so that derived keys may be cached with it. That
   * of a scope is random, so that nothing of another scope says anything about its tokens.
   *
   * @throws the same errors as {@link KeySource.activeKey}
   */
  indexRoots(scope?: Scope): IndexRoots;
}
