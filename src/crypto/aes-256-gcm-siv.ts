import { gcmsiv } from '@noble/ciphers/aes.js';

import type { NonceChoosingAead } from './cipher-suite';
import { AEAD_TAG_BYTES, AeadError, requireAeadKey } from './cipher-suite';
import { fillRandom } from './random';

const NONCE_BYTES = 12;

/**
 * AES-256-GCM-SIV (RFC 8452): a repeated nonce reveals no more than that two values are equal.
 * Through noble-ciphers, since OpenSSL 3.0 has none; some 20 times slower than the other suites.
 */
export class Aes256GcmSiv implements NonceChoosingAead {
  readonly suite = 'aes-256-gcm-siv';
  readonly nonceBytes = NONCE_BYTES;
  readonly tagBytes = AEAD_TAG_BYTES;
  readonly #key: Uint8Array;

  /** @throws RangeError when `key` is not 32 bytes long */
  constructor(key: Uint8Array) {
    requireAeadKey(key);
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
    const sealed = gcmsiv(this.#key, nonce, associatedData).encrypt(plaintext);
    target.set(nonce, offset);
    target.set(sealed, offset + NONCE_BYTES);
  }

  open(source: Buffer, offset: number, associatedData: Uint8Array): Buffer {
    const body = offset + NONCE_BYTES;
    if (source.length - body < AEAD_TAG_BYTES) throw new AeadError();
    const cipher = gcmsiv(this.#key, source.subarray(offset, body), associatedData);
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
