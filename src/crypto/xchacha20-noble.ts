import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';

import type { NonceChoosingAead } from './cipher-suite';
import { AEAD_TAG_BYTES, AeadError } from './cipher-suite';
import { fillRandom } from './random';

const NONCE_BYTES = 24;

/** XChaCha20-Poly1305 in JavaScript, for where the add-on is not installed. */
export class NobleXchacha20Poly1305 implements NonceChoosingAead {
  readonly suite = 'xchacha20-poly1305';
  readonly nonceBytes = NONCE_BYTES;
  readonly tagBytes = AEAD_TAG_BYTES;
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = Uint8Array.from(key);
  }

  seal(plaintext: Uint8Array, associatedData: Uint8Array, target: Buffer, offset: number): void {
    const nonce = new Uint8Array(NONCE_BYTES);
    fillRandom(nonce, 0, NONCE_BYTES);
    this.sealWithNonce(nonce, plaintext, associatedData, target, offset);
  }

  sealWithNonce(
    nonce: Uint8Array,
    plaintext: Uint8Array,
    associatedData: Uint8Array,
    target: Buffer,
    offset: number,
  ): void {
    const sealed = xchacha20poly1305(this.#key, nonce, associatedData).encrypt(plaintext);
    target.set(nonce, offset);
    target.set(sealed, offset + NONCE_BYTES);
  }

  open(source: Buffer, offset: number, associatedData: Uint8Array): Buffer {
    const body = offset + NONCE_BYTES;
    if (source.length - body < AEAD_TAG_BYTES) throw new AeadError();
    const cipher = xchacha20poly1305(this.#key, source.subarray(offset, body), associatedData);
    try {
      return toBuffer(cipher.decrypt(source.subarray(body)));
    } catch {
      throw new AeadError();
    }
  }
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
