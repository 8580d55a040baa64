import { LABELS } from '../../crypto/labels';
import { HedgedNonces } from '../../crypto/nonces';
import { wipe } from '../../crypto/secret-bytes';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import { SealedMessage } from '../../encoding/sealed-message';
import { ConfigurationError, KeyUnwrapError } from '../../errors';
import { BOUND_BYTES, newInnerKey, openBound, sealBound } from '../key-bytes';
import type { KeyBinding } from '../kms-provider';

import { CKA, CKK, CKM, CKO_SECRET_KEY, GCM_PARAMETERS_V240 } from './cryptoki';
import type { Attribute, Handle, Mechanism, Session } from './cryptoki';

/** First byte of every key wrapped by PKCS #11. Part of what is stored: never changes its meaning. */
const FORMAT_1 = 0x01;
const HEADER_BYTES = 6;

/** A wrapped key, taken apart. */
export interface WrappedForm {
  readonly keyWrap: KeyWrap;
  readonly kekVersion: number;
  readonly header: Uint8Array;
  readonly body: Uint8Array;
}

/** Writes `0x01 ‖ mechanism(1) ‖ version of the KEK(4)`, big-endian. */
export function header(keyWrap: KeyWrap, kekVersion: number): Uint8Array {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUInt8(FORMAT_1, 0);
  bytes.writeUInt8(keyWrap.id, 1);
  bytes.writeUInt32BE(kekVersion, 2);
  return bytes;
}

/** @throws {@link KeyUnwrapError} for bytes that {@link header} does not begin, or of another length */
export function parseWrapped(wrapped: Uint8Array): WrappedForm {
  const keyWrap = KEY_WRAPS.find(({ id }) => id === wrapped[1]);
  const isWhole =
    wrapped[0] === FORMAT_1 && wrapped.length === HEADER_BYTES + (keyWrap?.wrappedBytes ?? 0);
  if (keyWrap === undefined || !isWhole) {
    throw new KeyUnwrapError('the wrapped key is not of a PKCS #11 token, or is damaged.');
  }
  const bytes = Buffer.from(wrapped);
  return {
    keyWrap,
    kekVersion: bytes.readUInt32BE(2),
    header: bytes.subarray(0, HEADER_BYTES),
    body: bytes.subarray(HEADER_BYTES),
  };
}

/** Returns the associated data of a wrapped key. */
export function associatedData(headerBytes: Uint8Array, binding: KeyBinding): Uint8Array {
  const { application, keyId, keyName, purpose } = binding;
  return lengthPrefixed([LABELS.pkcs11Wrap, headerBytes, application, keyId, keyName, purpose]);
}

export type KeyWrapName = 'aes-gcm' | 'aes-key-wrap';

const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;
/** Size of AES Key Wrap: one block of 8 bytes more than the key (RFC 3394). */
const KEY_WRAP_BYTES = KEY_BYTES + 8;

/** A way to wrap 32-byte keys under an AES key that does not leave the token. */
export interface KeyWrap {
  readonly name: KeyWrapName;
  /** Second byte of every wrapped key. Part of what is stored: never changes its meaning. */
  readonly id: number;
  readonly mechanism: number;
  /** Length of the result of `wrap`. */
  readonly wrappedBytes: number;
  /** The two usages that a KEK must allow, and is created with. */
  readonly usage: readonly [wrapping: number, unwrapping: number];
  wrap(session: Session, kek: Handle, key: Uint8Array, associatedData: Uint8Array): Uint8Array;
  unwrap(
    session: Session,
    kek: Handle,
    wrapped: Uint8Array,
    associatedData: Uint8Array,
  ): Uint8Array;
}

/**
 * AES-256-GCM: `iv(12) ‖ ciphertext(32) ‖ tag(16)`, which authenticates the binding of the key. Modules
 * accept IVs of any length, and even no tag; both lengths are fixed here. Random IVs of 96 bits are good
 * for 2^32 keys under one KEK (NIST SP 800-38D, section 8.3).
 */
const aesGcm: KeyWrap = {
  name: 'aes-gcm',
  id: 0x01,
  mechanism: CKM.aesGcm,
  wrappedBytes: IV_BYTES + KEY_BYTES + TAG_BYTES,
  usage: [CKA.encrypt, CKA.decrypt],

  wrap({ cryptoki, handle }, kek, key, associatedData) {
    const message = new SealedMessage(Buffer.alloc(this.wrappedBytes), 0, IV_BYTES);
    // Derived from the key itself, so that two copies of a process never use one IV for different keys.
    new HedgedNonces(key).write(message, 0, associatedData);
    cryptoki.C_EncryptInit(handle, gcm(message.nonce, associatedData), kek);
    const sealed = cryptoki.C_Encrypt(handle, inPlace(key), message.sealed);
    requireLength(sealed, KEY_BYTES + TAG_BYTES, 'AES-GCM');
    return Buffer.concat([message.nonce, sealed]);
  },

  unwrap({ cryptoki, handle }, kek, wrapped, associatedData) {
    const iv = Buffer.from(wrapped.subarray(0, IV_BYTES));
    cryptoki.C_DecryptInit(handle, gcm(iv, associatedData), kek);
    // As long as the input: some modules demand that much room although they fill less.
    const output = Buffer.alloc(KEY_BYTES + TAG_BYTES);
    try {
      return ownKey(cryptoki.C_Decrypt(handle, Buffer.from(wrapped.subarray(IV_BYTES)), output));
    } finally {
      wipe(output);
    }
  },
};

/**
 * AES Key Wrap (RFC 3394, NIST SP 800-38F), for tokens or KEKs without GCM. It authenticates no
 * associated data, so it wraps a fresh inner key, under which the data key is sealed with its binding.
 * The padded variants are not used: modules disagree on the meaning of one of them.
 */
const aesKeyWrap: KeyWrap = {
  name: 'aes-key-wrap',
  id: 0x03,
  mechanism: CKM.aesKeyWrap,
  wrappedBytes: KEY_WRAP_BYTES + BOUND_BYTES,
  usage: [CKA.wrap, CKA.unwrap],

  wrap(session, kek, key, associatedData) {
    const inner = newInnerKey();
    try {
      const wrapped = wrapObject(session, kek, inner);
      return Buffer.concat([wrapped, sealBound(inner, key, associatedData)]);
    } finally {
      wipe(inner);
    }
  },

  unwrap(session, kek, wrapped, associatedData) {
    const inner = unwrapObject(session, kek, wrapped.subarray(0, KEY_WRAP_BYTES));
    try {
      return openBound(inner, wrapped.subarray(KEY_WRAP_BYTES), associatedData);
    } finally {
      wipe(inner);
    }
  },
};

/** Best first. */
export const KEY_WRAPS: readonly KeyWrap[] = [aesGcm, aesKeyWrap];

const KEY_WRAP: Mechanism = { mechanism: CKM.aesKeyWrap, parameter: null };

function wrapObject({ cryptoki, handle }: Session, kek: Handle, key: Uint8Array): Uint8Array {
  const object = cryptoki.C_CreateObject(handle, [
    ...TRANSIENT_KEY,
    { type: CKA.value, value: inPlace(key) },
  ]);
  try {
    const output = Buffer.alloc(KEY_WRAP_BYTES);
    const wrapped = cryptoki.C_WrapKey(handle, KEY_WRAP, kek, object, output);
    requireLength(wrapped, KEY_WRAP_BYTES, 'AES Key Wrap');
    return wrapped;
  } finally {
    cryptoki.C_DestroyObject(handle, object);
  }
}

function unwrapObject({ cryptoki, handle }: Session, kek: Handle, wrapped: Uint8Array): Uint8Array {
  const input = Buffer.from(wrapped);
  const object = cryptoki.C_UnwrapKey(handle, KEY_WRAP, kek, input, TRANSIENT_KEY);
  try {
    const [attribute] = cryptoki.C_GetAttributeValue(handle, object, [{ type: CKA.value }]);
    return ownKey(attribute?.value ?? Buffer.alloc(0));
  } finally {
    cryptoki.C_DestroyObject(handle, object);
  }
}

/** The attributes of an inner key in the token: an object that ends with the session at the latest. */
const TRANSIENT_KEY: readonly Attribute[] = [
  { type: CKA.class, value: CKO_SECRET_KEY },
  { type: CKA.keyType, value: CKK.genericSecret },
  { type: CKA.token, value: false },
  { type: CKA.private, value: true },
  { type: CKA.sensitive, value: false },
  { type: CKA.extractable, value: true },
];

function gcm(iv: Buffer, associatedData: Uint8Array): Mechanism {
  return {
    mechanism: CKM.aesGcm,
    parameter: {
      type: GCM_PARAMETERS_V240,
      iv,
      ivBits: IV_BYTES * 8,
      aad: inPlace(associatedData),
      tagBits: TAG_BYTES * 8,
    },
  };
}

/** Returns the bytes as a Buffer, which `pkcs11js` needs, without copying the key. */
function inPlace(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function ownKey(unwrapped: Buffer): Uint8Array {
  try {
    if (unwrapped.length === KEY_BYTES) return Uint8Array.from(unwrapped);
    throw new KeyUnwrapError(
      `the token unwrapped ${String(unwrapped.length)} bytes, want ${String(KEY_BYTES)}.`,
    );
  } finally {
    wipe(unwrapped);
  }
}

function requireLength(output: Buffer, want: number, mechanism: string): void {
  if (output.length === want) return;
  throw new ConfigurationError(
    `pkcs11Kms: the token answered ${mechanism} with ${String(output.length)} bytes, want ` +
      `${String(want)}. Choose the other one by the option mechanism.`,
  );
}
