import type { KeyObject } from 'node:crypto';
import { randomBytes } from 'node:crypto';

import { AEAD_KEY_BYTES, AEAD_TAG_BYTES, AeadError, createAead } from '../../crypto/aead';
import { equalInConstantTime } from '../../crypto/constant-time';
import { hkdfSha256 } from '../../crypto/hkdf';
import { LABELS } from '../../crypto/labels';
import { openBytes, sealBytes } from '../../crypto/seal-bytes';
import { wipe } from '../../crypto/wipe';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import { KeyUnwrapError } from '../../errors';
import type { KeyBinding } from '../kms-provider';

const SUITE = 'xaes-256-gcm';
const SALT_BYTES = 32;
const COMMITMENT_BYTES = 32;
const NONCE_BYTES = 24;
const BODY_OFFSET = SALT_BYTES + COMMITMENT_BYTES;
const SEALED_BYTES = BODY_OFFSET + NONCE_BYTES + AEAD_KEY_BYTES + AEAD_TAG_BYTES;

/** Key and commitment of one sealed key. */
interface Derived {
  readonly key: Uint8Array;
  readonly commitment: Uint8Array;
}

/**
 * Seals 32 key bytes under a KEK: `salt(32) ‖ commitment(32) ‖ nonce(24) ‖ ciphertext(32) ‖ tag(16)`.
 *
 * XAES-256-GCM under a key derived for this one message by HKDF-SHA-256, together with a commitment
 * to it. GCM alone commits to no key: rows crafted to open under many passphrases at once would let
 * a database writer test a whole list of them with each unwrap (Len, Grubbs and Ristenpart,
 * "Partitioning Oracle Attacks", 2021). Header and binding are authenticated.
 */
export function sealKey(
  kek: KeyObject,
  key: Uint8Array,
  header: Uint8Array,
  binding: KeyBinding,
): Uint8Array {
  const salt = randomBytes(SALT_BYTES);
  const derived = derive(kek, salt);
  try {
    const aead = createAead(SUITE, derived.key);
    const sealed = sealBytes(aead, key, associatedData(header, binding));
    return Buffer.concat([salt, derived.commitment, sealed]);
  } finally {
    wipe(derived.key);
  }
}

/**
 * Opens what {@link sealKey} made.
 *
 * @throws {@link KeyUnwrapError} with one message whatever is wrong
 */
export function openKey(
  kek: KeyObject,
  sealed: Uint8Array,
  header: Uint8Array,
  binding: KeyBinding,
): Uint8Array {
  if (sealed.length !== SEALED_BYTES) throw doesNotOpen();
  const derived = derive(kek, sealed.subarray(0, SALT_BYTES));
  try {
    const commitment = sealed.subarray(SALT_BYTES, BODY_OFFSET);
    if (!equalInConstantTime(commitment, derived.commitment)) throw doesNotOpen();
    const aead = createAead(SUITE, derived.key);
    return openBytes(aead, sealed.subarray(BODY_OFFSET), associatedData(header, binding));
  } catch (error) {
    throw error instanceof AeadError ? doesNotOpen() : error;
  } finally {
    wipe(derived.key);
  }
}

function derive(kek: KeyObject, salt: Uint8Array): Derived {
  const info = lengthPrefixed([LABELS.localKekWrap, SUITE]);
  const bytes = hkdfSha256({ key: kek, salt, info, bytes: AEAD_KEY_BYTES + COMMITMENT_BYTES });
  return { key: bytes.subarray(0, AEAD_KEY_BYTES), commitment: bytes.subarray(AEAD_KEY_BYTES) };
}

function associatedData(header: Uint8Array, binding: KeyBinding): Uint8Array {
  const { application, keyId, keyName, purpose } = binding;
  return lengthPrefixed([LABELS.localKekWrap, header, application, keyId, keyName, purpose]);
}

function doesNotOpen(): KeyUnwrapError {
  return new KeyUnwrapError(
    'wrong passphrase or key file, or the key row was edited, swapped or damaged.',
  );
}
