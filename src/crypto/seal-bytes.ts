import { SealedMessage } from '../encoding/sealed-message';

import type { Aead } from './cipher-suite';
import { AeadError } from './cipher-suite';

/** Seals bytes into a buffer of its own: `nonce ‖ ciphertext ‖ tag`. */
export function sealBytes(aead: Aead, plaintext: Uint8Array, associatedData: Uint8Array): Buffer {
  const bytes = Buffer.alloc(aead.nonceBytes + plaintext.length + aead.tagBytes);
  const message = new SealedMessage(bytes, 0, aead.nonceBytes);
  message.ciphertext.set(plaintext);
  aead.seal(message, associatedData);
  return bytes;
}

/**
 * Opens what {@link sealBytes} made.
 *
 * @throws {@link AeadError}
 */
export function openBytes(aead: Aead, sealed: Uint8Array, associatedData: Uint8Array): Buffer {
  if (sealed.length < aead.nonceBytes + aead.tagBytes) throw new AeadError();
  const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.length);
  return aead.open(new SealedMessage(bytes, 0, aead.nonceBytes), associatedData);
}
