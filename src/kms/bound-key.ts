import { randomFillSync } from 'node:crypto';

import type { Aead } from '../crypto/aead';
import { AEAD_KEY_BYTES, AEAD_TAG_BYTES, AeadError, createAead } from '../crypto/aead';
import { hkdfSha256 } from '../crypto/hkdf';
import { LABELS } from '../crypto/labels';
import { openBytes, sealBytes } from '../crypto/seal-bytes';
import { wipe } from '../crypto/wipe';
import { lengthPrefixed } from '../encoding/length-prefixed';
import { KeyUnwrapError } from '../errors';

const SUITE = 'xaes-256-gcm';
const NONCE_BYTES = 24;

/** Length of what {@link sealBound} makes. */
export const BOUND_BYTES = NONCE_BYTES + AEAD_KEY_BYTES + AEAD_TAG_BYTES;

/**
 * A fresh key for a KMS to wrap in the place of a data key, where it authenticates no associated data.
 * Wrapped directly, a data key that became known could be put back under any id: nothing that only the
 * KMS knows would say what it belongs to. Nobody ever learns this one.
 */
export function newInnerKey(): Uint8Array {
  return randomFillSync(Buffer.allocUnsafeSlow(AEAD_KEY_BYTES));
}

/** Seals a data key, and what it belongs to, under its inner key: `nonce(24) ‖ ciphertext(32) ‖ tag(16)`. */
export function sealBound(
  inner: Uint8Array,
  key: Uint8Array,
  associatedData: Uint8Array,
): Uint8Array {
  return withAead(inner, (aead) => sealBytes(aead, key, associatedData));
}

/**
 * Opens what {@link sealBound} made.
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
