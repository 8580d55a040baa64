import type { SealedMessage } from '../encoding/sealed-message';
import { TAG_BYTES } from '../encoding/sealed-message';
import type { NonceMode } from './nonces';

/** One complete, fixed algorithm; a data key is for exactly one of them. */
export type CipherSuite = 'xaes-256-gcm' | 'xchacha20-poly1305' | 'aes-256-gcm-siv';

/** Key length of every suite in bytes. */
export const AEAD_KEY_BYTES = 32;
/** Tag length of every suite in bytes; shorter tags are never written nor accepted. */
export const AEAD_TAG_BYTES = TAG_BYTES;

/** Authenticated encryption with associated data (RFC 5116) under one key. */
export interface Aead {
  readonly suite: CipherSuite;
  readonly nonceBytes: number;
  readonly tagBytes: 16;
  /** How it draws nonces; decryption is the same for all. */
  readonly nonces: NonceMode;
  /** Encrypts the plaintext in `message.ciphertext` where it stands, with a fresh nonce. */
  seal(message: SealedMessage, associatedData: Uint8Array): void;
  /**
   * Decrypts a message and leaves the message as it is.
   *
   * @throws {@link AeadError} before anything of the plaintext is released
   */
  open(message: SealedMessage, associatedData: Uint8Array): Buffer;
}

/** An AEAD whose nonces known-answer tests may choose. Never what the rest of the library is given. */
export interface NonceChoosingAead extends Aead {
  /** Sealing two messages with one nonce can give both, and the key, away. */
  sealWithNonce(nonce: Uint8Array, message: SealedMessage, associatedData: Uint8Array): void;
}

/** A message does not authenticate. Says no more on purpose: nothing more is knowable. */
export class AeadError extends Error {
  override readonly name = 'AeadError';

  constructor() {
    super('the message does not authenticate');
  }
}

/** @throws RangeError when `key` is not 32 bytes long */
export function requireAeadKey(key: Uint8Array): void {
  if (key.length !== AEAD_KEY_BYTES) {
    throw new RangeError(
      `an AEAD key takes ${String(AEAD_KEY_BYTES)} bytes, got ${String(key.length)}`,
    );
  }
}
