/** One complete, fixed algorithm; a data key is for exactly one of them. */
export type CipherSuite = 'xaes-256-gcm' | 'xchacha20-poly1305' | 'aes-256-gcm-siv';

/** Key length of every suite in bytes. */
export const AEAD_KEY_BYTES = 32;
/** Tag length of every suite in bytes; shorter tags are never written nor accepted. */
export const AEAD_TAG_BYTES = 16;

/** Authenticated encryption with associated data (RFC 5116) under one key. */
export interface Aead {
  readonly suite: CipherSuite;
  readonly nonceBytes: number;
  readonly tagBytes: 16;
  /**
   * Writes `nonce ‖ ciphertext ‖ tag` to `target` from `offset` on, with a fresh nonce.
   *
   * `plaintext` may be the very part of `target` that the ciphertext will take (from
   * `offset + nonceBytes` on), so that a value is encrypted where it was written; it may not
   * overlap `target` in any other way.
   */
  seal(plaintext: Uint8Array, associatedData: Uint8Array, target: Buffer, offset: number): void;
  /**
   * Opens `nonce ‖ ciphertext ‖ tag` that takes `source` from `offset` to its end.
   *
   * @throws {@link AeadError} before anything of the plaintext is released
   */
  open(source: Buffer, offset: number, associatedData: Uint8Array): Buffer;
}

/** An AEAD whose nonces known-answer tests may choose. Never what the rest of the library is given. */
export interface NonceChoosingAead extends Aead {
  /** Sealing two messages with one nonce can give both, and the key, away. */
  sealWithNonce(
    nonce: Uint8Array,
    plaintext: Uint8Array,
    associatedData: Uint8Array,
    target: Buffer,
    offset: number,
  ): void;
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
