import type { SealedMessage } from '../encoding/sealed-message';

import type { CipherSuite, NonceChoosingAead } from './cipher-suite';
import { AEAD_TAG_BYTES, AeadError } from './cipher-suite';
import { fillRandom } from './random';

/** An AEAD of noble-ciphers: made anew for each message, and its output ends in the tag. */
type NobleCipher = (
  key: Uint8Array,
  nonce: Uint8Array,
  associatedData: Uint8Array,
) => {
  encrypt(plaintext: Uint8Array): Uint8Array;
  /** Throws when the message does not authenticate. */
  decrypt(sealed: Uint8Array): Uint8Array;
};

/** A cipher suite in JavaScript, for what neither OpenSSL nor an add-on offers. */
export class NobleAead implements NonceChoosingAead {
  readonly suite: CipherSuite;
  readonly nonceBytes: number;
  readonly tagBytes = AEAD_TAG_BYTES;
  readonly #cipher: NobleCipher;
  readonly #key: Uint8Array;

  constructor(suite: CipherSuite, nonceBytes: number, cipher: NobleCipher, key: Uint8Array) {
    this.suite = suite;
    this.nonceBytes = nonceBytes;
    this.#cipher = cipher;
    this.#key = Uint8Array.from(key);
  }

  seal(message: SealedMessage, associatedData: Uint8Array): void {
    const nonce = new Uint8Array(this.nonceBytes);
    fillRandom(nonce, 0, this.nonceBytes);
    this.sealWithNonce(nonce, message, associatedData);
  }

  sealWithNonce(nonce: Uint8Array, message: SealedMessage, associatedData: Uint8Array): void {
    const cipher = this.#cipher(this.#key, nonce, associatedData);
    message.sealed.set(cipher.encrypt(message.ciphertext));
    message.nonce.set(nonce);
  }

  open({ nonce, sealed }: SealedMessage, associatedData: Uint8Array): Buffer {
    const cipher = this.#cipher(this.#key, nonce, associatedData);
    try {
      return toBuffer(cipher.decrypt(sealed));
    } catch {
      throw new AeadError();
    }
  }
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
