import { randomBytes } from 'node:crypto';

import { decodeBase64url } from '../encoding/base64url';

/** First byte of every stored value of this format. It can never get another meaning. */
export const FORMAT_1 = 0x01;
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
 * Returns the 9 bytes that begin every ciphertext under a data key.
 *
 * @throws RangeError if `id` is not 16 lower-case hexadecimal digits
 */
export function keyHeader(id: string): Uint8Array {
  if (!isDataKeyId(id)) {
    throw new RangeError('a data-key id is 16 lower-case hexadecimal digits');
  }
  const header = Buffer.alloc(HEADER_BYTES, FORMAT_1);
  header.write(id, 1, 'hex');
  return header;
}

/**
 * Returns the 12 characters that begin every ciphertext under a data key in a text column, for
 * `LIKE 'prefix%'` and `GROUP BY substr(column, 1, 12)`.
 *
 * @throws RangeError if `id` is not 16 lower-case hexadecimal digits
 */
export function keyPrefix(id: string): string {
  return Buffer.from(keyHeader(id)).toString('base64url');
}

/** Returns the data-key id in a prefix; `undefined` if it is not one of format 1. */
export function keyIdOfPrefix(prefix: string): string | undefined {
  const header = prefix.length === PREFIX_CHARS ? decodeBase64url(prefix) : undefined;
  return header?.[0] === FORMAT_1 ? header.toString('hex', 1) : undefined;
}

/** Returns the characters that name the data key of a stored text, if that is a ciphertext. */
export function prefixOfText(stored: string): string {
  return stored.slice(0, PREFIX_CHARS);
}
