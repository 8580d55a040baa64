import { randomBytes } from 'node:crypto';

import { decodeBase64url } from '../encoding/base64url';

/**
 * The first byte of a stored value, which can never get another meaning: that of a value that is bound to its
 * field alone, and of one that is bound to its row as well.
 */
export const FORMATS = Object.freeze({ unbound: 0x01, bound: 0x02 });
/** The format of a stored value. */
export type Format = (typeof FORMATS)[keyof typeof FORMATS];
/** Length of a data-key id in bytes. */
const DATA_KEY_ID_BYTES = 8;
/** `format(1) ‖ dataKeyId(8)` */
export const HEADER_BYTES = 1 + DATA_KEY_ID_BYTES;
/** The header in a text column: 9 bytes are exactly 12 base64url characters, without a shared bit. */
export const PREFIX_CHARS = 12;

const ID_PATTERN = /^[0-9a-f]{16}$/;

/** Creates the id of a new data key: 64 random bits as 16 lower-case hexadecimal digits. */
export function newDataKeyId(): string {
  return randomBytes(DATA_KEY_ID_BYTES).toString('hex');
}

/** Whether a string has the form of a data-key id. */
export function isDataKeyId(id: string): boolean {
  return ID_PATTERN.test(id);
}

/**
 * Returns the 9 bytes that begin every ciphertext of a format under a data key.
 *
 * @throws RangeError if `id` is not 16 lower-case hexadecimal digits
 */
export function keyHeader(id: string, format: Format = FORMATS.unbound): Uint8Array {
  if (!isDataKeyId(id)) {
    throw new RangeError('a data-key id is 16 lower-case hexadecimal digits');
  }
  const header = Buffer.alloc(HEADER_BYTES, format);
  header.write(id, 1, 'hex');
  return header;
}

/**
 * Returns the 12 characters that begin every ciphertext of a format under a data key in a text column, for
 * `LIKE 'prefix%'` and `GROUP BY substr(column, 1, 12)`. That of unbound values names the key everywhere else.
 *
 * @throws RangeError if `id` is not 16 lower-case hexadecimal digits
 */
export function keyPrefix(id: string, format?: Format): string {
  return Buffer.from(keyHeader(id, format)).toString('base64url');
}

/** Returns the data-key id in a prefix; `undefined` if it is not one of a known format. */
export function keyIdOfPrefix(prefix: string): string | undefined {
  const header = prefix.length === PREFIX_CHARS ? decodeBase64url(prefix) : undefined;
  return header !== undefined && isFormat(header[0]) ? header.toString('hex', 1) : undefined;
}

/** Whether a byte is that of a known format. */
export function isFormat(byte: number | undefined): byte is Format {
  return byte === FORMATS.unbound || byte === FORMATS.bound;
}

/** Returns the format in a prefix; `undefined` if it is of none. */
export function formatOfPrefix(prefix: string): Format | undefined {
  const byte = decodeBase64url(prefix.slice(0, 4))?.[0];
  return isFormat(byte) ? byte : undefined;
}

/** Returns the prefix by which a stored text names its data key, whatever its format, if it is a ciphertext. */
export function prefixOfText(stored: string): string {
  return unboundPrefix(stored.slice(0, PREFIX_CHARS));
}

/**
 * Returns a prefix with the format of unbound values. The first character holds six bits of the format, and
 * the second one the other two: `A` and one of `g` to `v` where it is bound, of `Q` to `f` where not.
 */
export function unboundPrefix(prefix: string): string {
  // Nearly all values share a few keys.
  if (prefix === lastBound) return lastUnbound;
  const second = prefix.charCodeAt(1);
  if (second < 0x67 || second > 0x76 || !prefix.startsWith('A')) return prefix;
  // The alphabet has a gap between `Z` and `a`.
  const character = String.fromCharCode(second - (second <= 0x70 ? 0x16 : 0x10));
  lastBound = prefix;
  lastUnbound = `A${character}${prefix.slice(2)}`;
  return lastUnbound;
}

let lastBound = '';
let lastUnbound = '';
