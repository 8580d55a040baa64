import { KeyUnwrapError } from '../../errors';

/** First byte of every key wrapped by a KMS whose ciphertexts are opaque. Never changes its meaning. */
const FORMAT_1 = 0x01;
const MAX_BYTES = 4096;

/** Writes `0x01 ‖ ciphertext`. */
export function serializeOpaque(ciphertext: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.of(FORMAT_1), ciphertext]);
}

/**
 * @param who - the provider, such as `awsKms`
 * @throws {@link KeyUnwrapError} for bytes that {@link serializeOpaque} did not write
 */
export function parseOpaque(who: string, wrapped: Uint8Array): Uint8Array {
  if (wrapped[0] === FORMAT_1 && wrapped.length > 1 && wrapped.length <= MAX_BYTES) {
    return wrapped.slice(1);
  }
  throw new KeyUnwrapError(`${who}: the wrapped key is not of this KMS, or is damaged.`);
}
