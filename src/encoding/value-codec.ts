import { types } from 'node:util';

import { stringifyExactly } from './exact-json';
import { describeValue, isWellFormed } from './text';
import { ValueCodecError } from './value-codec-error';

/** The declared type of a field. */
export type ValueType = 'string' | 'number' | 'bigint' | 'boolean' | 'date' | 'json' | 'bytes';

/** A value as a field returns it; JSON may be any of its kinds. */
export type FieldValue = string | number | bigint | boolean | Date | Buffer | object | null;

/** An encoded value without its type tag: text to be written as UTF-8, or bytes. */
export type ValueContent = string | Uint8Array;

/** A decrypted value: `tag ‖ content`, or the content as a string or number. */
export type OpenedValue = Buffer | string | number;

/** Stored in every ciphertext: a tag can never change its meaning; new types take new tags. */
export const TYPE_TAGS: Readonly<Record<ValueType, number>> = Object.freeze({
  string: 0x01,
  number: 0x02,
  bigint: 0x03,
  boolean: 0x04,
  date: 0x05,
  json: 0x06,
  bytes: 0x07,
});

/** Length of the type tag in front of the content. */
export const TYPE_TAG_BYTES = 1;

const FALSE_CONTENT = Uint8Array.of(0);
const TRUE_CONTENT = Uint8Array.of(1);
const FLOAT64_BYTES = 8;
const CANONICAL_DECIMAL = /^(?:0|-?[1-9][0-9]*)$/;

/**
 * Checks a value against its declared type and returns its content:
 *
 * | type | content |
 * | --- | --- |
 * | string | UTF-8 |
 * | number | IEEE-754 binary64, big-endian: exact for -0, NaN and infinities |
 * | bigint | canonical decimal text |
 * | boolean | one byte, 0 or 1 |
 * | date | milliseconds since 1970 UTC as binary64, big-endian |
 * | json | JSON text |
 * | bytes | the bytes; not copied |
 *
 * @throws {@link ValueCodecError} if the value is of another type or cannot be kept exactly
 */
export function encodeContent(type: ValueType, value: unknown): ValueContent {
  switch (type) {
    case 'string':
      return encodeString(value);
    case 'number':
      if (typeof value !== 'number') throw unexpected('a number', value);
      return encodeFloat64(value);
    case 'bigint':
      if (typeof value !== 'bigint') throw unexpected('a bigint', value);
      return value.toString();
    case 'boolean':
      if (typeof value !== 'boolean') throw unexpected('a boolean', value);
      return value ? TRUE_CONTENT : FALSE_CONTENT;
    case 'date':
      return encodeDate(value);
    case 'json':
      if (value === undefined || value === null) throw unexpected('a JSON value', value);
      return stringifyExactly(value);
    case 'bytes':
      if (!types.isUint8Array(value)) throw unexpected('a Uint8Array', value);
      return value;
  }
}

/** Returns the length of a content in bytes, without the type tag. */
export function contentBytes(content: ValueContent): number {
  return typeof content === 'string' ? Buffer.byteLength(content, 'utf8') : content.length;
}

/** Writes `tag ‖ content` and returns its length. The target must have room for it. */
export function writeValue(
  type: ValueType,
  content: ValueContent,
  target: Buffer,
  offset: number,
): number {
  target[offset] = TYPE_TAGS[type];
  if (typeof content === 'string') {
    return TYPE_TAG_BYTES + target.write(content, offset + TYPE_TAG_BYTES, 'utf8');
  }
  target.set(content, offset + TYPE_TAG_BYTES);
  return TYPE_TAG_BYTES + content.length;
}

/** Encodes a value as `tag(1) ‖ content`; see {@link encodeContent}. */
export function encodeValue(type: ValueType, value: unknown): Buffer {
  const content = encodeContent(type, value);
  const encoded = Buffer.allocUnsafe(TYPE_TAG_BYTES + contentBytes(content));
  writeValue(type, content, encoded, 0);
  return encoded;
}

/**
 * Decodes `tag(1) ‖ content`. The result shares no memory with `encoded`.
 *
 * @throws {@link ValueCodecError} if the tag is another type's or the content is not its encoding
 */
export function decodeValue(type: ValueType, encoded: Buffer): FieldValue {
  if (encoded[0] !== TYPE_TAGS[type]) {
    throw new ValueCodecError(`it holds ${describeTag(encoded[0])}, the field is a ${type}`);
  }
  switch (type) {
    case 'string':
      return encoded.toString('utf8', TYPE_TAG_BYTES);
    case 'number':
      return decodeFloat64(encoded);
    case 'bigint':
      return decodeBigint(encoded);
    case 'boolean':
      return decodeBoolean(encoded);
    case 'date':
      return toDate(decodeFloat64(encoded));
    case 'json':
      return parseJson(encoded.toString('utf8', TYPE_TAG_BYTES));
    case 'bytes':
      return copyContent(encoded);
  }
}

/**
 * Decodes an opened value, in any of its forms.
 *
 * @throws {@link ValueCodecError} as {@link decodeValue} does
 */
export function decodeOpened(type: ValueType, opened: OpenedValue): FieldValue {
  if (typeof opened === 'string') return type === 'json' ? parseJson(opened) : opened;
  if (typeof opened === 'number') return type === 'date' ? toDate(opened) : opened;
  return decodeValue(type, opened);
}

function encodeString(value: unknown): string {
  if (typeof value !== 'string') throw unexpected('a string', value);
  if (!isWellFormed(value)) {
    throw new ValueCodecError('the string holds a lone surrogate, which UTF-8 cannot carry');
  }
  return value;
}

function encodeFloat64(value: number): Buffer {
  const content = Buffer.allocUnsafe(FLOAT64_BYTES);
  content.writeDoubleBE(value, 0);
  return content;
}

function encodeDate(value: unknown): Buffer {
  if (!types.isDate(value)) throw unexpected('a Date', value);
  const milliseconds = Date.prototype.getTime.call(value);
  if (Number.isNaN(milliseconds)) throw new ValueCodecError('the Date is invalid');
  return encodeFloat64(milliseconds);
}

function decodeFloat64(encoded: Buffer): number {
  requireLength(encoded, FLOAT64_BYTES);
  return encoded.readDoubleBE(TYPE_TAG_BYTES);
}

function decodeBigint(encoded: Buffer): bigint {
  const digits = encoded.toString('latin1', TYPE_TAG_BYTES);
  if (!CANONICAL_DECIMAL.test(digits)) throw damaged();
  return BigInt(digits);
}

function decodeBoolean(encoded: Buffer): boolean {
  requireLength(encoded, 1);
  const bit = encoded[TYPE_TAG_BYTES];
  if (bit !== 0 && bit !== 1) throw damaged();
  return bit === 1;
}

function toDate(milliseconds: number): Date {
  const date = new Date(milliseconds);
  if (Number.isNaN(date.getTime())) throw damaged();
  return date;
}

function parseJson(text: string): FieldValue {
  try {
    return JSON.parse(text) as FieldValue;
  } catch {
    // The parser's message quotes the plaintext.
    throw damaged();
  }
}

/** Copies, since the `.buffer` of a view of a pooled Buffer would expose its neighbours. */
function copyContent(encoded: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(encoded.length - TYPE_TAG_BYTES);
  encoded.copy(copy, 0, TYPE_TAG_BYTES);
  return copy;
}

function requireLength(encoded: Buffer, bytes: number): void {
  if (encoded.length !== TYPE_TAG_BYTES + bytes) throw damaged();
}

function describeTag(tag: number | undefined): string {
  const type = Object.entries(TYPE_TAGS).find(([, known]) => known === tag)?.[0];
  return type === undefined ? 'a value of an unknown type' : `a ${type}`;
}

function unexpected(expected: string, value: unknown): ValueCodecError {
  return new ValueCodecError(`expected ${expected}, got ${describeValue(value)}`);
}

function damaged(): ValueCodecError {
  return new ValueCodecError('its content is not a valid encoding of its type');
}
