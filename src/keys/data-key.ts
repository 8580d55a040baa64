import type { Aead, CipherSuite } from '../crypto/aead';
import type { NativeDataKey } from '../crypto/native';
import type { UseCounter } from './key-uses';

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
