import { FULL_TOKEN_BITS, tokenMac } from '../crypto/token-mac';
import type { TokenMac } from '../crypto/token-mac';
import { lengthPrefixed } from '../encoding/length-prefixed';
import { isWellFormed } from '../encoding/text';
import { encodeContent, TYPE_TAGS } from '../encoding/value-codec';
import type { ValueContent } from '../encoding/value-codec';
import { ValueCodecError } from '../encoding/value-codec-error';
import type { IndexRoot } from '../keys/key-source';

import { coerced } from './coercion';
import { unsupportedValue } from './field-errors';
import type { FieldPolicy, IndexDefinition } from './field-policy';
import type { Normalizer } from './normalizer';

/** The context that the tokens of one index are bound to. */
export interface TokenBinding {
  readonly label: string;
  readonly application: string;
  /** Empty for an unnamed index. */
  readonly indexName: string;
}

/** The form of the tokens by one definition of a blind index, under any root. */
export class TokenForm {
  readonly #field: FieldPolicy;
  readonly #normalizer: Normalizer;
  readonly #bits: number;
  readonly #keyInfo: Uint8Array;
  #roots: readonly IndexRoot[] = [];
  #macs: TokenMac[] = [];

  constructor(field: FieldPolicy, definition: IndexDefinition, binding: TokenBinding) {
    this.#field = field;
    this.#normalizer = definition.normalizer;
    this.#bits = definition.bits ?? FULL_TOKEN_BITS;
    this.#keyInfo = keyInfo(field, definition.normalizer, binding);
  }

  /**
   * Returns the content that all values share that are equal by this definition.
   *
   * @throws {@link UnsupportedValueError}
   */
  comparable(given: unknown): ValueContent {
    const value = coerced(this.#field, given);
    try {
      return this.#field.type === 'string'
        ? normalized(this.#normalizer, encodeContent('string', value) as string)
        : canonicalContent(this.#field, value);
    } catch (error) {
      if (!(error instanceof ValueCodecError)) throw error;
      throw unsupportedValue(this.#field, error.reason);
    }
  }

  /** Returns the token under the root at `position`, of a content from {@link TokenForm.comparable}. */
  token(roots: readonly IndexRoot[], position: number, content: ValueContent): string {
    return this.#mac(roots, position)(content);
  }

  #mac(roots: readonly IndexRoot[], position: number): TokenMac {
    if (this.#roots !== roots) {
      const typeTag = TYPE_TAGS[this.#field.type];
      this.#macs = roots.map((root) =>
        tokenMac(root.deriveIndexKey(this.#keyInfo), typeTag, this.#bits),
      );
      this.#roots = roots;
    }
    const mac = this.#macs[position];
    if (mac === undefined) throw new RangeError(`there is no index root ${String(position)}`);
    return mac;
  }
}

function keyInfo(
  { fieldId }: FieldPolicy,
  { id, version }: Normalizer,
  { label, application, indexName }: TokenBinding,
): Uint8Array {
  return lengthPrefixed([label, application, fieldId, indexName, id, String(version)]);
}

function normalized(normalizer: Normalizer, value: string): string {
  if (normalizer.id === 'exact') return value;
  const result = callNormalizer(normalizer, value);
  if (typeof result !== 'string' || !isWellFormed(result)) {
    throw new ValueCodecError(`normalizer "${normalizer.id}" did not answer well-formed text`);
  }
  return result;
}

function callNormalizer(normalizer: Normalizer, value: string): unknown {
  try {
    return normalizer.normalize(value);
  } catch (error) {
    // An error of a custom normalizer may quote the value, and is not passed on.
    if (error instanceof ValueCodecError) throw error;
    throw new ValueCodecError(`normalizer "${normalizer.id}" threw`);
  }
}

/** Returns one content for all values that `=` should find: -0 is 0, and NaN equals nothing. */
function canonicalContent({ type }: FieldPolicy, value: unknown): ValueContent {
  if (type !== 'number') return encodeContent(type, value);
  if (Number.isNaN(value)) throw new ValueCodecError('NaN equals nothing and cannot be looked up');
  return encodeContent('number', value === 0 ? 0 : value);
}
