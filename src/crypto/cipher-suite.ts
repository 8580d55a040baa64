import { TAG_BYTES } from '../encoding/sealed-message';
import type { SealedMessage } from '../encoding/sealed-message';

import type { NonceMode } from './nonces';

/** One complete, fixed algorithm; a data key is for exactly one of them. */
export type CipherSuite = 'xaes-256-gcm' | 'xchacha20-poly1305' | 'aes-256-gcm-siv';

/** Key length of every suite in bytes. */
export const AEAD_KEY_BYTES = 32;
/** Tag length of every suite in bytes. Shorter tags are neither written nor accepted. */
export const AEAD_TAG_BYTES = TAG_BYTES;

/** Authenticated encryption with associated data (RFC 5116) under one key. */
export interface Aead {
  readonly suite: CipherSuite;
  readonly nonceBytes: number;
  readonly tagBytes: 16;
  /** How it draws nonces. Decryption does not depend on it. */
  readonly nonces: NonceMode;
  /** Encrypts the plaintext in `message.ciphertext` where it stands, with a fresh nonce. */
  seal(message: SealedMessage, associatedData: Uint8Array): void;
  /**
   * Decrypts a message and leaves it unchanged.
   *
   * @throws {@link AeadError} before any of the plaintext is released
   */
  open(message: SealedMessage, associatedData: Uint8Array): Buffer;
}

/** An AEAD with nonces chosen by known-answer tests. The rest of the library never uses it as such. */
export interface NonceChoosingAead extends Aead {
  /** Sealing two messages with one nonce can reveal both, and the key. */
  sealWithNonce(nonce: Uint8Array, message: SealedMessage, associatedData: Uint8Array): void;
}

/** A message does not authenticate. Nothing more can be known. */
export class AeadError extends Error {
  override readonly name = 'AeadError';

  constructor() {
    super('the message does not authenticate');
  }
}

/** @throws RangeError if `key` is not 32 bytes long */
export function requireAeadKey(key: Uint8Array): void {
  if (key.length !== AEAD_KEY_BYTES) {
    throw new RangeError(
      `an AEAD key takes ${String(AEAD_KEY_BYTES)} bytes, got ${String(key.length)}`,
    );
  }
}
