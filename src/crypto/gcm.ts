import type { KeyObject } from 'node:crypto';
import { createCipheriv, createDecipheriv } from 'node:crypto';

import { AEAD_TAG_BYTES, AeadError } from './cipher-suite';

/** Node 20 takes tags of 4 to 16 bytes unless it is told the length. */
const OPTIONS = Object.freeze({ authTagLength: AEAD_TAG_BYTES });

/** Writes `ciphertext ‖ tag` of AES-256-GCM (SP 800-38D) to `target` from `offset` on. */
export function sealGcm(
  key: KeyObject,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  associatedData: Uint8Array,
  target: Buffer,
  offset: number,
): void {
  const cipher = createCipheriv('aes-256-gcm', key, nonce, OPTIONS);
  cipher.setAAD(associatedData);
  const ciphertext = cipher.update(plaintext);
  cipher.final();
  target.set(ciphertext, offset);
  target.set(cipher.getAuthTag(), offset + ciphertext.length);
}

/**
 * Opens `ciphertext ‖ tag` that takes `source` from `offset` to its end.
 *
 * @throws {@link AeadError}
 */
export function openGcm(
  key: KeyObject,
  nonce: Uint8Array,
  source: Buffer,
  offset: number,
  associatedData: Uint8Array,
): Buffer {
  const tagOffset = source.length - AEAD_TAG_BYTES;
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, OPTIONS);
  decipher.setAAD(associatedData);
  decipher.setAuthTag(source.subarray(tagOffset));
  // Not authentic before final() has said so: the plaintext leaves this function only after it.
  const plaintext = decipher.update(source.subarray(offset, tagOffset));
  try {
    decipher.final();
  } catch {
    throw new AeadError();
  }
  return plaintext;
}
