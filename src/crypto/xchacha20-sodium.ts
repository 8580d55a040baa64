import type { NonceChoosingAead } from './cipher-suite';
import { AEAD_KEY_BYTES, AEAD_TAG_BYTES, AeadError } from './cipher-suite';
import { fillRandom } from './random';
import type { Sodium } from './sodium';

const NONCE_BYTES = 24;

/** XChaCha20-Poly1305 through libsodium. */
export class SodiumXchacha20Poly1305 implements NonceChoosingAead {
  readonly suite = 'xchacha20-poly1305';
  readonly nonceBytes = NONCE_BYTES;
  readonly tagBytes = AEAD_TAG_BYTES;
  readonly #sodium: Sodium;
  /** Guarded memory outside the heap, locked where the system allows it and zeroed when freed. */
  readonly #key: Buffer;

  constructor(sodium: Sodium, key: Uint8Array) {
    this.#sodium = sodium;
    this.#key = sodium.sodium_malloc(AEAD_KEY_BYTES);
    this.#key.set(key);
  }

  seal(plaintext: Uint8Array, associatedData: Uint8Array, target: Buffer, offset: number): void {
    fillRandom(target, offset, NONCE_BYTES);
    this.#sealAfterNonce(plaintext, associatedData, target, offset);
  }

  sealWithNonce(
    nonce: Uint8Array,
    plaintext: Uint8Array,
    associatedData: Uint8Array,
    target: Buffer,
    offset: number,
  ): void {
    target.set(nonce, offset);
    this.#sealAfterNonce(plaintext, associatedData, target, offset);
  }

  open(source: Buffer, offset: number, associatedData: Uint8Array): Buffer {
    const body = offset + NONCE_BYTES;
    const plainBytes = source.length - body - AEAD_TAG_BYTES;
    if (plainBytes < 0) throw new AeadError();
    const plaintext = Buffer.allocUnsafe(plainBytes);
    try {
      this.#sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
        plaintext,
        null,
        source.subarray(body),
        associatedData,
        source.subarray(offset, body),
        this.#key,
      );
    } catch {
      throw new AeadError();
    }
    return plaintext;
  }

  #sealAfterNonce(
    plaintext: Uint8Array,
    associatedData: Uint8Array,
    target: Buffer,
    offset: number,
  ): void {
    const body = offset + NONCE_BYTES;
    this.#sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
      target.subarray(body, body + plaintext.length + AEAD_TAG_BYTES),
      plaintext,
      associatedData,
      null,
      target.subarray(offset, body),
      this.#key,
    );
  }
}
