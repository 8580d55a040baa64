import type { KeyObject } from 'node:crypto';
import { createCipheriv, createDecipheriv } from 'node:crypto';

import type { SealedMessage } from '../encoding/sealed-message';

import { AEAD_TAG_BYTES, AeadError } from './cipher-suite';

/** Node 20 takes tags of 4 to 16 bytes unless it is told the length; those that it makes have 16. */
const OPENING = Object.freeze({ authTagLength: AEAD_TAG_BYTES });

/** Encrypts a message in place with AES-256-GCM (SP 800-38D), under `iv` rather than its own nonce. */
export function sealGcm(
  key: KeyObject,
  iv: Uint8Array,
  { ciphertext, tag }: SealedMessage,
  associatedData: Uint8Array,
): void {
  const cipher = createCipheriv('aes-256-gcm', key, iv);
  cipher.setAAD(associatedData);
  ciphertext.set(cipher.update(ciphertext));
  cipher.final();
  tag.set(cipher.getAuthTag());
}

/**
 * Opens what {@link sealGcm} made.
 *
 * @throws {@link AeadError}
 */
export function openGcm(
  key: KeyObject,
  iv: Uint8Array,
  { ciphertext, tag }: SealedMessage,
  associatedData: Uint8Array,
): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, iv, OPENING);
  decipher.setAAD(associatedData);
  decipher.setAuthTag(tag);
  // Not authentic before final() has said so: the plaintext leaves this function only after it.
  const plaintext = decipher.update(ciphertext);
  try {
    decipher.final();
  } catch {
    throw new AeadError();
  }
  return plaintext;
}
