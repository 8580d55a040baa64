import { types } from 'node:util';

import { decodeBase64url } from '../encoding/base64url';
import { TAG_BYTES } from '../encoding/sealed-message';

import {
  FORMATS,
  HEADER_BYTES,
  isFormat,
  keyIdOfPrefix,
  prefixOfText,
  unboundPrefix,
} from './data-key-id';

/** The storage of ciphertexts in a column: base64url without padding, or the bytes themselves. */
export type Storage = 'text' | 'binary';

const TYPE_TAG_BYTES = 1;
/** Nonce length of each suite; all other lengths are the same. */
const NONCE_BYTES = Object.freeze({
  'xaes-256-gcm': 24,
  'xchacha20-poly1305': 24,
  'aes-256-gcm-siv': 12,
});
type Suite = keyof typeof NONCE_BYTES;

/** No ciphertext of any suite is shorter. */
const MIN_BYTES = HEADER_BYTES + NONCE_BYTES['aes-256-gcm-siv'] + TYPE_TAG_BYTES + TAG_BYTES;
/** Canonical base64url as long as a ciphertext of the default suites counts as one of an unknown format. */
const FOREIGN_MIN_CHARS = 66;

/**
 * The form of a stored value. A malformed one has a `prefix` if it begins like a ciphertext: it is damaged,
 * or cleartext that happens to look like one. The prefix names the data key, whatever the format.
 */
export type StoredInspection =
  | { readonly kind: 'ciphertext'; readonly prefix: string; readonly isBound: boolean }
  | { readonly kind: 'malformed'; readonly reason: string; readonly prefix: string | undefined }
  | { readonly kind: 'plaintext' };

/**
 * Reads the bytes of a stored ciphertext:
 * `format(1) ‖ dataKeyId(8) ‖ nonce(24, 12 for aes-256-gcm-siv) ‖ ciphertext ‖ tag(16)`.
 *
 * Returns `undefined` for everything that is not a ciphertext to {@link inspectStored}. The result shares
 * its memory with a binary `stored`.
 */
export function readCiphertext(stored: unknown, storage: Storage): Buffer | undefined {
  const bytes = storage === 'text' ? readText(stored) : readBytes(stored);
  return bytes !== undefined && bytes.length >= MIN_BYTES && isFormat(bytes[0]) ? bytes : undefined;
}

/** Returns the 12 characters by which a stored value names its data key, if it is a ciphertext. */
export function namedPrefix(stored: unknown): string | undefined {
  if (typeof stored === 'string') return prefixOfText(stored);
  const bytes = readBytes(stored);
  return bytes && prefixOf(stored, bytes);
}

/** Returns the 12 characters that name the data key of a ciphertext that was read from `stored`. */
export function prefixOf(stored: unknown, ciphertext: Buffer): string {
  return typeof stored === 'string'
    ? prefixOfText(stored)
    : unboundPrefix(ciphertext.toString('base64url', 0, HEADER_BYTES));
}

/** Whether a ciphertext is bound to its row. */
export function isBound(ciphertext: Buffer): boolean {
  return ciphertext[0] === FORMATS.bound;
}

/**
 * Inspects a stored value, strictly by its form and without a key.
 *
 * @param mayBeBound - whether values of the field are bound to their rows; elsewhere none can be
 */
export function inspectStored(
  stored: unknown,
  storage: Storage,
  mayBeBound: boolean,
): StoredInspection {
  const bytes = readCiphertext(stored, storage);
  if (bytes !== undefined) {
    const prefix = prefixOf(stored, bytes);
    return isBound(bytes) && !mayBeBound
      ? malformed('it is bound to a row, and the field is not', prefix)
      : { kind: 'ciphertext', prefix, isBound: isBound(bytes) };
  }
  return storage === 'text' ? inspectText(stored, mayBeBound) : inspectBytes(stored, mayBeBound);
}

/** Returns the length of a value's stored form in characters or bytes; `plainBytes` is without the type tag. */
export function storedLength(plainBytes: number, suite: Suite, storage: Storage): number {
  return storedLengthOf(plainBytes, NONCE_BYTES[suite], storage);
}

/** {@link storedLength} for a nonce length. */
export function storedLengthOf(plainBytes: number, nonceBytes: number, storage: Storage): number {
  const bytes = HEADER_BYTES + nonceBytes + TYPE_TAG_BYTES + plainBytes + TAG_BYTES;
  return storage === 'text' ? Math.ceil((bytes * 4) / 3) : bytes;
}

/** Returns the bytes of the longest value that fits a column of `columnLength`; negative if none does. */
export function maxPlainBytes(columnLength: number, suite: Suite, storage: Storage): number {
  const bytes = storage === 'text' ? Math.floor((columnLength * 3) / 4) : columnLength;
  return bytes - storedLengthOf(0, NONCE_BYTES[suite], 'binary');
}

function readText(stored: unknown): Buffer | undefined {
  return typeof stored === 'string' ? decodeBase64url(stored) : undefined;
}

function readBytes(stored: unknown): Buffer | undefined {
  if (Buffer.isBuffer(stored)) return stored;
  return types.isUint8Array(stored)
    ? Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength)
    : undefined;
}

function inspectText(stored: unknown, mayBeBound: boolean): StoredInspection {
  if (typeof stored !== 'string') return { kind: 'plaintext' };
  const bytes = readText(stored);
  const prefix = prefixOfText(stored);
  const isOurs = mayBeBound || stored.startsWith(prefix);
  if (isOurs && keyIdOfPrefix(prefix) !== undefined) {
    return malformed(
      bytes === undefined ? 'it is not canonical base64url' : 'it is cut short',
      prefix,
    );
  }
  if (bytes !== undefined && stored.length >= FOREIGN_MIN_CHARS) {
    return malformed(`its format ${formatName(bytes)} is not known to this version`);
  }
  return { kind: 'plaintext' };
}

function inspectBytes(stored: unknown, mayBeBound: boolean): StoredInspection {
  const bytes = readBytes(stored);
  if (bytes === undefined) return { kind: 'plaintext' };
  if (bytes.length === 0) return malformed('it is empty');
  if (!isFormat(bytes[0]) || (isBound(bytes) && !mayBeBound)) return { kind: 'plaintext' };
  const prefix = bytes.length < HEADER_BYTES ? undefined : prefixOf(stored, bytes);
  return malformed('it is cut short', prefix);
}

function malformed(reason: string, prefix?: string): StoredInspection {
  return { kind: 'malformed', reason, prefix };
}

function formatName(bytes: Buffer): string {
  return `0x${bytes.toString('hex', 0, 1)}`;
}
