import { randomFillSync } from 'node:crypto';

import { AEAD_KEY_BYTES, AEAD_TAG_BYTES, AeadError, createAead } from '../crypto/aead';
import type { Aead } from '../crypto/aead';
import { openBytes, sealBytes } from '../crypto/gcm';
import { hkdfSha256 } from '../crypto/hmac';
import { LABELS } from '../crypto/labels';
import { wipe } from '../crypto/secret-bytes';
import { lengthPrefixed } from '../encoding/length-prefixed';
import { KeyUnwrapError } from '../errors';

const SUITE = 'xaes-256-gcm';
const NONCE_BYTES = 24;

/** Length of what {@link sealBound} returns. */
export const BOUND_BYTES = NONCE_BYTES + AEAD_KEY_BYTES + AEAD_TAG_BYTES;

/**
 * Makes a fresh key for a KMS that authenticates no associated data to wrap instead of the data key.
 * Wrapped directly, a data key that has leaked could be put back under any id, since no secret of the KMS
 * would bind it to one. The inner key never leaks.
 */
export function newInnerKey(): Uint8Array {
  return randomFillSync(Buffer.allocUnsafeSlow(AEAD_KEY_BYTES));
}

/** Seals a data key and its binding under its inner key: `nonce(24) ‖ ciphertext(32) ‖ tag(16)`. */
export function sealBound(
  inner: Uint8Array,
  key: Uint8Array,
  associatedData: Uint8Array,
): Uint8Array {
  return withAead(inner, (aead) => sealBytes(aead, key, associatedData));
}

/**
 * Opens what {@link sealBound} sealed.
 *
 * @throws {@link KeyUnwrapError}
 */
export function openBound(
  inner: Uint8Array,
  sealed: Uint8Array,
  associatedData: Uint8Array,
): Uint8Array {
  try {
    const opened = withAead(inner, (aead) => openBytes(aead, sealed, associatedData));
    const key = Uint8Array.from(opened);
    wipe(opened);
    return key;
  } catch (error) {
    if (!(error instanceof AeadError)) throw error;
    throw new KeyUnwrapError('the key row was edited, swapped or damaged.');
  }
}

function withAead<T>(inner: Uint8Array, use: (aead: Aead) => T): T {
  const info = lengthPrefixed([LABELS.boundKey, SUITE]);
  const key = hkdfSha256({ key: inner, info, bytes: AEAD_KEY_BYTES });
  try {
    return use(createAead(SUITE, key));
  } finally {
    wipe(key);
  }
}

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

const KEY_BYTES = 32;

/**
 * Copies the key that a KMS unwrapped, and wipes the given bytes.
 *
 * @param who - the provider, such as `awsKms`
 * @throws {@link KeyUnwrapError} for anything but 32 bytes
 */
export function unwrappedKey(who: string, bytes: unknown): Uint8Array {
  const isKey = bytes instanceof Uint8Array || Buffer.isBuffer(bytes);
  const copy = isKey && bytes.length === KEY_BYTES ? Uint8Array.from(bytes) : undefined;
  if (isKey) wipe(bytes);
  if (copy !== undefined) return copy;
  throw new KeyUnwrapError(`${who}: what the KMS unwrapped is not a data key of 32 bytes.`);
}
