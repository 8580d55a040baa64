import type { KeyObject } from 'node:crypto';

import { hmacSha256, hmacSha256Base64url } from '../crypto/hmac';
import { LABELS } from '../crypto/labels';
import { encodeBase64url } from '../encoding/base64url';
import { lengthPrefixed } from '../encoding/length-prefixed';
import type { ValueContent } from '../encoding/value-codec';
import { encodeContent, TYPE_TAGS, ValueCodecError } from '../encoding/value-codec';
import { isWellFormed } from '../encoding/well-formed';
import type { IndexRoot, KeySource } from '../keys/key-source';

import type { BlindIndexPolicy } from './blind-index-policy';
import { FULL_INDEX_BITS, requireIndexable } from './blind-index-policy';
import { unsupportedValue } from './field-errors';
import type { FieldPolicy } from './field-policy';

export type { BlindIndexPolicy } from './blind-index-policy';

/**
 * Computes the tokens by which an encrypted field is looked up:
 * `truncate(HMAC-SHA-256(indexKey, typeTag ‖ normalized value))` as base64url.
 *
 * The index key is derived from the index root for application, field, index name and normalizer
 * version, so tokens of two indexes have nothing in common.
 *
 * **Warning**: a token shows which rows hold equal values, and how often, to whoever reads the table.
 */
export class BlindIndex {
  readonly #field: FieldPolicy;
  readonly #index: BlindIndexPolicy;
  readonly #keys: KeySource;
  readonly #keyInfo: Uint8Array;
  readonly #typeTag: string;
  readonly #bits: number;
  #root: IndexRoot | undefined;
  #key: KeyObject | undefined;

  /** @throws {@link InvalidFieldPolicyError} when the field cannot have such an index */
  constructor(field: FieldPolicy, index: BlindIndexPolicy, application: string, keys: KeySource) {
    requireIndexable(field, index);
    this.#field = field;
    this.#index = index;
    this.#keys = keys;
    this.#keyInfo = keyInfo(field, index, application);
    // Below 0x80, so one character is the same one byte in UTF-8.
    this.#typeTag = String.fromCharCode(TYPE_TAGS[field.type]);
    this.#bits = index.bits ?? FULL_INDEX_BITS;
  }

  /**
   * The token of a value: 43 characters, fewer where the index is truncated.
   *
   * @throws {@link UnsupportedValueError} when the value is not of the field's type, or nothing that
   * can be compared (NaN, a lone surrogate, whatever the normalizer refuses)
   * @throws whatever {@link KeySource.indexRoot} throws
   */
  token(value: unknown): string {
    const message = this.#message(this.#comparable(value));
    const key = this.#indexKey();
    return this.#bits === FULL_INDEX_BITS
      ? hmacSha256Base64url(key, message)
      : encodeBase64url(truncated(hmacSha256(key, message), this.#bits));
  }

  /**
   * Whether the index takes two values for the same; truncated tokens may be equal when they are
   * not. `null` and `undefined` match nothing.
   *
   * @throws {@link UnsupportedValueError} as {@link BlindIndex.token} does
   */
  matches(a: unknown, b: unknown): boolean {
    if (a === null || a === undefined || b === null || b === undefined) return false;
    const left = this.#comparable(a);
    const right = this.#comparable(b);
    if (typeof left === 'string' || typeof right === 'string') return left === right;
    return Buffer.compare(left, right) === 0;
  }

  #comparable(value: unknown): ValueContent {
    try {
      return this.#field.type === 'string'
        ? this.#normalized(encodeContent('string', value) as string)
        : canonicalContent(this.#field, value);
    } catch (error) {
      if (!(error instanceof ValueCodecError)) throw error;
      throw unsupportedValue(this.#field, error.reason);
    }
  }

  #normalized(value: string): string {
    const { normalizer } = this.#index;
    if (normalizer.id === 'exact') return value;
    const normalized = normalizedBy(this.#index, value);
    if (typeof normalized !== 'string' || !isWellFormed(normalized)) {
      throw new ValueCodecError(`normalizer "${normalizer.id}" did not answer well-formed text`);
    }
    return normalized;
  }

  #message(content: ValueContent): string | Uint8Array {
    return typeof content === 'string'
      ? this.#typeTag + content
      : Buffer.concat([Buffer.from(this.#typeTag, 'latin1'), content]);
  }

  #indexKey(): KeyObject {
    const root = this.#keys.indexRoot();
    if (this.#key === undefined || this.#root !== root) {
      this.#key = root.deriveIndexKey(this.#keyInfo);
      this.#root = root;
    }
    return this.#key;
  }
}

function keyInfo(field: FieldPolicy, index: BlindIndexPolicy, application: string): Uint8Array {
  return lengthPrefixed([
    LABELS.indexKey,
    application,
    field.fieldId,
    index.name,
    index.normalizer.id,
    String(index.normalizer.version),
  ]);
}

/** One content for each value that `=` should find: -0 is 0, and NaN equals nothing. */
function canonicalContent({ type }: FieldPolicy, value: unknown): ValueContent {
  if (type !== 'number') return encodeContent(type, value);
  if (Number.isNaN(value)) throw new ValueCodecError('NaN equals nothing and cannot be looked up');
  return encodeContent('number', value === 0 ? 0 : value);
}

function normalizedBy({ normalizer }: BlindIndexPolicy, value: string): unknown {
  try {
    return normalizer.normalize(value);
  } catch (error) {
    // What a custom normalizer throws may quote the value; only our own reasons go further.
    if (error instanceof ValueCodecError) throw error;
    throw new ValueCodecError(`normalizer "${normalizer.id}" threw`);
  }
}

/** The first `bits` of a digest, with the unused low bits of the last byte zeroed. */
function truncated(digest: Buffer, bits: number): Buffer {
  const kept = digest.subarray(0, Math.ceil(bits / 8));
  const unused = kept.length * 8 - bits;
  const last = kept.length - 1;
  kept[last] = kept.readUInt8(last) & (0xff << unused);
  return kept;
}
