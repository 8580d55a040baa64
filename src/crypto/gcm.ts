import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { SealedMessage } from '../encoding/sealed-message';

import { AEAD_TAG_BYTES, AeadError } from './cipher-suite';
import type { Aead } from './cipher-suite';

/** Without a length, Node 20 accepts tags of 4 to 16 bytes. */
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
 * Opens a message of {@link sealGcm}.
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
  // Not authentic before final() has returned: the plaintext leaves this function only after that.
  const plaintext = decipher.update(ciphertext);
  try {
    decipher.final();
  } catch {
    throw new AeadError();
  }
  return plaintext;
}

/** Seals bytes into a buffer of its own: `nonce ‖ ciphertext ‖ tag`. */
export function sealBytes(aead: Aead, plaintext: Uint8Array, associatedData: Uint8Array): Buffer {
  const bytes = Buffer.alloc(aead.nonceBytes + plaintext.length + aead.tagBytes);
  const message = new SealedMessage(bytes, 0, aead.nonceBytes);
  message.ciphertext.set(plaintext);
  aead.seal(message, associatedData);
  return bytes;
}

/**
 * Opens bytes of {@link sealBytes}.
 *
 * @throws {@link AeadError}
 */
export function openBytes(aead: Aead, sealed: Uint8Array, associatedData: Uint8Array): Buffer {
  if (sealed.length < aead.nonceBytes + aead.tagBytes) throw new AeadError();
  const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.length);
  return aead.open(new SealedMessage(bytes, 0, aead.nonceBytes), associatedData);
}
