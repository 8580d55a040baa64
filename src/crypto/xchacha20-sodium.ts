import type { SealedMessage } from '../encoding/sealed-message';

import type { NonceChoosingAead } from './cipher-suite';
import { AEAD_KEY_BYTES, AEAD_TAG_BYTES, AeadError } from './cipher-suite';
import type { NonceMode, Nonces } from './nonces';
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
  readonly #nonces: Nonces;

  constructor(sodium: Sodium, key: Uint8Array, nonces: Nonces) {
    this.#sodium = sodium;
    this.#key = sodium.sodium_malloc(AEAD_KEY_BYTES);
    this.#key.set(key);
    this.#nonces = nonces;
  }

  get nonces(): NonceMode {
    return this.#nonces.mode;
  }

  seal(message: SealedMessage, associatedData: Uint8Array): void {
    this.#nonces.write(message, 0, associatedData);
    this.#sealAfterNonce(message, associatedData);
  }

  sealWithNonce(nonce: Uint8Array, message: SealedMessage, associatedData: Uint8Array): void {
    message.nonce.set(nonce);
    this.#sealAfterNonce(message, associatedData);
  }

  open({ nonce, sealed }: SealedMessage, associatedData: Uint8Array): Buffer {
    const plaintext = Buffer.allocUnsafe(sealed.length - AEAD_TAG_BYTES);
    try {
      this.#sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
        plaintext,
        null,
        sealed,
        associatedData,
        nonce,
        this.#key,
      );
    } catch {
      throw new AeadError();
    }
    return plaintext;
  }

  #sealAfterNonce(message: SealedMessage, associatedData: Uint8Array): void {
    this.#sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
      message.sealed,
      message.ciphertext,
      associatedData,
      null,
      message.nonce,
      this.#key,
    );
  }
}
