import { randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { AEAD_KEY_BYTES, AEAD_TAG_BYTES, AeadError, createAead } from '../../crypto/aead';
import { openBytes, sealBytes } from '../../crypto/gcm';
import { hkdfSha256 } from '../../crypto/hmac';
import { LABELS } from '../../crypto/labels';
import { equalInConstantTime, wipe } from '../../crypto/secret-bytes';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import { KeyUnwrapError } from '../../errors';
import type { KeyBinding } from '../kms-provider';

import type { ScryptParameters } from './scrypt-parameters';

/** First byte of a key wrapped under a passphrase. Part of what is stored: never changes its meaning. */
const UNDER_PASSPHRASE = 0x01;
/** First byte of a key wrapped under a key file. */
const UNDER_KEY_FILE = 0x02;

export const SCRYPT_SALT_BYTES = 16;
const PASSPHRASE_HEADER_BYTES = 4 + SCRYPT_SALT_BYTES;
const KEY_FILE_HEADER_BYTES = 1;

/** The header of a key wrapped under a passphrase: how the KEK was derived. */
export interface PassphraseHeader {
  readonly scrypt: ScryptParameters;
  /** 16 bytes. */
  readonly salt: Uint8Array;
}

/** A wrapped key, taken apart. */
export interface WrappedForm<H> {
  readonly header: H;
  readonly headerBytes: Uint8Array;
  readonly sealed: Uint8Array;
}

/** Writes `0x01 ‖ logN(1) ‖ r(1) ‖ p(1) ‖ salt(16)`. */
export function passphraseHeader({ scrypt, salt }: PassphraseHeader): Uint8Array {
  return Buffer.concat([Uint8Array.of(UNDER_PASSPHRASE, scrypt.logN, scrypt.r, scrypt.p), salt]);
}

/** Writes `0x02`. */
export function keyFileHeader(): Uint8Array {
  return Uint8Array.of(UNDER_KEY_FILE);
}

/** @throws {@link KeyUnwrapError} for bytes that were not wrapped under a passphrase */
export function parseUnderPassphrase(wrapped: Uint8Array): WrappedForm<PassphraseHeader> {
  const [kind, logN, r, p] = wrapped;
  if (kind === UNDER_KEY_FILE) throw wrongSource('a key file', 'a passphrase');
  if (
    kind !== UNDER_PASSPHRASE ||
    wrapped.length <= PASSPHRASE_HEADER_BYTES ||
    logN === undefined ||
    r === undefined ||
    p === undefined
  ) {
    throw notOurs();
  }
  return {
    header: { scrypt: { logN, r, p }, salt: wrapped.subarray(4, PASSPHRASE_HEADER_BYTES) },
    headerBytes: wrapped.subarray(0, PASSPHRASE_HEADER_BYTES),
    sealed: wrapped.subarray(PASSPHRASE_HEADER_BYTES),
  };
}

/** @throws {@link KeyUnwrapError} for bytes that were not wrapped under a key file */
export function parseUnderKeyFile(wrapped: Uint8Array): WrappedForm<undefined> {
  if (wrapped[0] === UNDER_PASSPHRASE) throw wrongSource('a passphrase', 'a key file');
  if (wrapped[0] !== UNDER_KEY_FILE) throw notOurs();
  return {
    header: undefined,
    headerBytes: wrapped.subarray(0, KEY_FILE_HEADER_BYTES),
    sealed: wrapped.subarray(KEY_FILE_HEADER_BYTES),
  };
}

function wrongSource(stored: string, configured: string): KeyUnwrapError {
  return new KeyUnwrapError(
    `the key was wrapped under ${stored}, and localKms is set up with ${configured}.`,
  );
}

function notOurs(): KeyUnwrapError {
  return new KeyUnwrapError('the wrapped key is not of the local KMS, or is damaged.');
}

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
