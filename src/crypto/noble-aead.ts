import type * as aes from '@noble/ciphers/aes.js';
import type * as chacha from '@noble/ciphers/chacha.js';

import type { SealedMessage } from '../encoding/sealed-message';

import { AeadError } from './cipher-suite';
import type { CipherSuite } from './cipher-suite';
import { DrawnNonceAead } from './drawn-nonce-aead';
import type { Nonces } from './nonces';

/** A cipher of noble-ciphers, created for each message. Its output ends in the tag. */
type NobleCipher = (
  key: Uint8Array,
  nonce: Uint8Array,
  associatedData: Uint8Array,
) => {
  encrypt(plaintext: Uint8Array): Uint8Array;
  /** Throws if the message does not authenticate. */
  decrypt(sealed: Uint8Array): Uint8Array;
};

/**
 * Loads AES-256-GCM-SIV. The package has nothing but ES modules, which Jest cannot require before Node.js 24.9:
 * so it is loaded when a key needs it, and tests of applications with the default suite do without.
 */
export function loadGcmSiv(): NobleCipher {
  return (require('@noble/ciphers/aes.js') as typeof aes).gcmsiv;
}

/** Loads XChaCha20-Poly1305, as {@link loadGcmSiv} does. */
export function loadXchacha20Poly1305(): NobleCipher {
  return (require('@noble/ciphers/chacha.js') as typeof chacha).xchacha20poly1305;
}

/** A cipher suite in JavaScript, for those that neither OpenSSL nor an add-on offers. */
export class NobleAead extends DrawnNonceAead {
  readonly suite: CipherSuite;
  readonly nonceBytes: number;
  readonly #cipher: NobleCipher;
  readonly #key: Uint8Array;

  constructor(
    suite: CipherSuite,
    nonceBytes: number,
    cipher: NobleCipher,
    key: Uint8Array,
    nonces: Nonces,
  ) {
    super(nonces);
    this.suite = suite;
    this.nonceBytes = nonceBytes;
    this.#cipher = cipher;
    this.#key = Uint8Array.from(key);
  }

  open({ nonce, sealed }: SealedMessage, associatedData: Uint8Array): Buffer {
    const cipher = this.#cipher(this.#key, nonce, associatedData);
    try {
      return toBuffer(cipher.decrypt(sealed));
    } catch {
      throw new AeadError();
    }
  }

  protected sealAfterNonce(message: SealedMessage, associatedData: Uint8Array): void {
    const cipher = this.#cipher(this.#key, message.nonce, associatedData);
    message.sealed.set(cipher.encrypt(message.ciphertext));
  }
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
