import type { NonceChoosingAead } from '../../src/crypto/cipher-suite';
import { SealedMessage } from '../../src/encoding/sealed-message';

/** `nonce ‖ ciphertext ‖ tag` of a message with a chosen nonce, for known answers. */
export function sealWithNonce(
  aead: NonceChoosingAead,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  associatedData: Uint8Array,
): Buffer {
  const bytes = Buffer.alloc(aead.nonceBytes + plaintext.length + aead.tagBytes);
  const message = new SealedMessage(bytes, 0, aead.nonceBytes);
  message.ciphertext.set(plaintext);
  aead.sealWithNonce(nonce, message, associatedData);
  return bytes;
}
