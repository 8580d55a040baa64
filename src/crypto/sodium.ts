import { createRequire } from 'node:module';

/** The part of `sodium-native` in use. It ships no types. */
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
  /** Throws when the message does not authenticate. */
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

/** The optional peer `sodium-native`, or `undefined` where it is not installed or has no binary. */
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
