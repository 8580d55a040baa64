import { createRequire } from 'node:module';

import type { SealedMessage } from '../encoding/sealed-message';

import { AEAD_KEY_BYTES, AEAD_TAG_BYTES, AeadError, requireAeadKey } from './cipher-suite';
import type { NonceChoosingAead } from './cipher-suite';
import { DrawnNonceAead } from './drawn-nonce-aead';
import { loadXchacha20Poly1305, NobleAead } from './noble-aead';
import { RANDOM_NONCES } from './nonces';
import type { Nonces } from './nonces';

/** The part of `sodium-native` in use, which ships no types. */
export interface Sodium {
  sodium_malloc(bytes: number): Buffer;
  crypto_aead_xchacha20poly1305_ietf_encrypt(
    ciphertext: Uint8Array,
    plaintext: Uint8Array,
    associatedData: Uint8Array | null,
    secretNonce: null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number;
  /** Throws if the message does not authenticate. */
  crypto_aead_xchacha20poly1305_ietf_decrypt(
    plaintext: Uint8Array,
    secretNonce: null,
    ciphertext: Uint8Array,
    associatedData: Uint8Array | null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number;
}

let loaded: Sodium | undefined;
let tried = false;

/** Loads the optional peer `sodium-native`; `undefined` if it is not installed or has no binary. */
export function loadSodium(): Sodium | undefined {
  if (!tried) {
    tried = true;
    loaded = tryRequire();
  }
  return loaded;
}

function tryRequire(): Sodium | undefined {
  try {
    return createRequire(__filename)('sodium-native') as Sodium;
  } catch {
    return undefined;
  }
}

const NONCE_BYTES = 24;

/** XChaCha20-Poly1305 through libsodium. */
export class SodiumXchacha20Poly1305 extends DrawnNonceAead {
  readonly suite = 'xchacha20-poly1305';
  readonly nonceBytes = NONCE_BYTES;
  readonly #sodium: Sodium;
  /** Guarded memory outside the heap, locked if the system allows it and zeroed when freed. */
  readonly #key: Buffer;

  constructor(sodium: Sodium, key: Uint8Array, nonces: Nonces) {
    super(nonces);
    this.#sodium = sodium;
    this.#key = sodium.sodium_malloc(AEAD_KEY_BYTES);
    this.#key.set(key);
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

  protected sealAfterNonce(message: SealedMessage, associatedData: Uint8Array): void {
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

/**
 * Creates XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) through `sodium-native` if that can be loaded,
 * some 30 times as fast as the same bytes through noble-ciphers.
 *
 * @param implementation - chosen by tests only
 * @throws RangeError if `key` is not 32 bytes long
 */
export function createXchacha20Poly1305(
  key: Uint8Array,
  nonces: Nonces = RANDOM_NONCES,
  implementation?: 'sodium' | 'noble',
): NonceChoosingAead {
  requireAeadKey(key);
  const sodium = implementation === 'noble' ? undefined : loadSodium();
  if (sodium !== undefined) return new SodiumXchacha20Poly1305(sodium, key, nonces);
  if (implementation === 'sodium') throw new Error('sodium-native cannot be loaded');
  return new NobleAead('xchacha20-poly1305', NONCE_BYTES, loadXchacha20Poly1305(), key, nonces);
}
