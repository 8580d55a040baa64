import { SealedMessage } from '../encoding/sealed-message';
import { HEADER_BYTES } from '../format/data-key-id';
import { storedLengthOf } from '../format/field-ciphertext';
import type { DataKey } from '../keys/key-source';

/** Allocates the stored form, with its header. The plaintext is written where the ciphertext will be. */
export function roomFor(key: DataKey, plainBytes: number): Buffer {
  const bytes = Buffer.allocUnsafe(storedLengthOf(plainBytes, key.aead.nonceBytes, 'binary'));
  bytes.set(key.header);
  return bytes;
}

/** Returns the message in a stored form. */
export function messageIn({ aead }: DataKey, bytes: Buffer): SealedMessage {
  return new SealedMessage(bytes, HEADER_BYTES, aead.nonceBytes);
}

/** Counts a use of the key that sealed a value, and returns that. */
export function counted<T>({ uses }: DataKey, sealed: T): T {
  uses.pending += 1;
  return sealed;
}

/** Returns where the plaintext begins in the room for it. */
export function plaintextOffset({ aead }: DataKey): number {
  return HEADER_BYTES + aead.nonceBytes;
}
