import type { KeyObject } from 'node:crypto';

import { hmacSha256, hmacSha256Base64url } from '../crypto/hmac';
import { LABELS } from '../crypto/labels';
import { encodeBase64url } from '../encoding/base64url';
import { lengthPrefixed } from '../encoding/length-prefixed';
import type { ValueContent } from '../encoding/value-codec';
import { encodeContent, TYPE_TAGS, ValueCodecError } from '../encoding/value-codec';
import { isWellFormed } from '../encoding/well-formed';
import type { IndexRoot } from '../keys/key-source';

import type { IndexDefinition } from './blind-index-policy';
import { FULL_INDEX_BITS } from './blind-index-policy';
import { unsupportedValue } from './field-errors';
import type { FieldPolicy } from './field-policy';
import type { Normalizer } from './normalizer';

/** What the tokens of one index are bound to, beside the value. */
export interface TokenBinding {
  readonly application: string;
  /** Empty for an unnamed index. */
  readonly indexName: string;
}

/** How one definition of a blind index turns a value into a token, under any root. */
export class TokenForm {
  readonly #field: FieldPolicy;
  readonly #normalizer: Normalizer;
  readonly #bits: number;
  readonly #keyInfo: Uint8Array;
  readonly #typeTag: string;
  readonly #isExactText: boolean;
  #roots: readonly IndexRoot[] = [];
  #keys: KeyObject[] = [];

  constructor(field: FieldPolicy, definition: IndexDefinition, binding: TokenBinding) {
    this.#field = field;
    this.#normalizer = definition.normalizer;
    this.#bits = definition.bits ?? FULL_INDEX_BITS;
    this.#keyInfo = keyInfo(field, definition.normalizer, binding);
    // Below 0x80, so one character is the same one byte in UTF-8.
    this.#typeTag = String.fromCharCode(TYPE_TAGS[field.type]);
    this.#isExactText = field.type === 'string' && isExact(definition.normalizer);
  }

  /**
   * What is the same for all values that this definition takes for the same.
   *
   * @throws {@link UnsupportedValueError}
   */
  comparable(value: unknown): ValueContent {
    // What nearly all tokens are of takes no normalizing, and a way short enough for V8 to inline.
    if (this.#isExactText && typeof value === 'string' && isWellFormed(value)) return value;
    try {
      return this.#field.type === 'string'
        ? normalized(this.#normalizer, encodeContent('string', value) as string)
        : canonicalContent(this.#field, value);
    } catch (error) {
      if (!(error instanceof ValueCodecError)) throw error;
      throw unsupportedValue(this.#field, error.reason);
    }
  }

  /** The token under the root at `position`, of what {@link TokenForm.comparable} answered. */
  token(roots: readonly IndexRoot[], position: number, content: ValueContent): string {
    const key = this.#indexKey(roots, position);
    const message =
      typeof content === 'string' ? this.#typeTag + content : tagged(this.#typeTag, content);
    return this.#bits === FULL_INDEX_BITS
      ? hmacSha256Base64url(key, message)
      : encodeBase64url(truncated(hmacSha256(key, message), this.#bits));
  }

  #indexKey(roots: readonly IndexRoot[], position: number): KeyObject {
    if (this.#roots !== roots) {
      this.#roots = roots;
      this.#keys = roots.map((root) => root.deriveIndexKey(this.#keyInfo));
    }
    const key = this.#keys[position];
    if (key === undefined) throw new RangeError(`there is no index root ${String(position)}`);
    return key;
  }
}

function keyInfo(
  { fieldId }: FieldPolicy,
  { id, version }: Normalizer,
  { application, indexName }: TokenBinding,
): Uint8Array {
  return lengthPrefixed([LABELS.indexKey, application, fieldId, indexName, id, String(version)]);
}

function tagged(typeTag: string, content: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(typeTag, 'latin1'), content]);
}

function isExact({ id }: Normalizer): boolean {
  return id === 'exact';
}

function normalized(normalizer: Normalizer, value: string): string {
  if (isExact(normalizer)) return value;
  const answer = answerOf(normalizer, value);
  if (typeof answer !== 'string' || !isWellFormed(answer)) {
    throw new ValueCodecError(`normalizer "${normalizer.id}" did not answer well-formed text`);
  }
  return answer;
}

function answerOf(normalizer: Normalizer, value: string): unknown {
  try {
    return normalizer.normalize(value);
  } catch (error) {
    // What a custom normalizer throws may quote the value; only our own reasons go further.
    if (error instanceof ValueCodecError) throw error;
    throw new ValueCodecError(`normalizer "${normalizer.id}" threw`);
  }
}

/** One content for each value that `=` should find: -0 is 0, and NaN equals nothing. */
function canonicalContent({ type }: FieldPolicy, value: unknown): ValueContent {
  if (type !== 'number') return encodeContent(type, value);
  if (Number.isNaN(value)) throw new ValueCodecError('NaN equals nothing and cannot be looked up');
  return encodeContent('number', value === 0 ? 0 : value);
}

/** The first `bits` of a digest, with the unused low bits of the last byte zeroed. */
function truncated(digest: Buffer, bits: number): Buffer {
  const kept = digest.subarray(0, Math.ceil(bits / 8));
  const unused = kept.length * 8 - bits;
  const last = kept.length - 1;
  kept[last] = kept.readUInt8(last) & (0xff << unused);
  return kept;
}
