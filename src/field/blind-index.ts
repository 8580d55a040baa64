import { LABELS } from '../crypto/labels';
import type { ValueContent } from '../encoding/value-codec';
import { UnsupportedValueError } from '../errors';
import type { IndexRoots, KeySource } from '../keys/key-source';

import { keyUnusable } from './field-errors';
import type { BlindIndexPolicy, FieldPolicy } from './field-policy';
import { requireIndexable } from './field-policy';
import { TokenForm } from './token-form';

export type { BlindIndexPolicy, IndexDefinition } from './field-policy';

/**
 * A blind index: the tokens by which an encrypted field is looked up,
 * `truncate(HMAC-SHA-256(indexKey, typeTag ‖ normalized value))` as base64url.
 *
 * The index key is derived from the index root for application, field, index name and normalizer
 * version, so that tokens of two indexes have nothing in common.
 *
 * While the index changes its definition or its root, stored tokens have several forms: values are looked
 * up by all of them and written with the current one.
 *
 * **Warning**: tokens show anyone who reads the table which rows hold equal values, and how often.
 */
export class BlindIndex {
  readonly #field: FieldPolicy;
  readonly #keys: KeySource;
  readonly #current: TokenForm;
  readonly #previous: readonly TokenForm[];
  /** Whether tokens of some form are truncated, so that different values may share one. */
  readonly isTruncated: boolean;

  /**
   * @param label - of the kind of values; see `LABELS`
   * @throws {@link InvalidFieldPolicyError} when the field cannot have such an index
   */
  constructor(
    field: FieldPolicy,
    index: BlindIndexPolicy,
    application: string,
    keys: KeySource,
    label: string = LABELS.indexKey,
  ) {
    requireIndexable(field, index);
    const binding = { label, application, indexName: index.name };
    this.#field = field;
    this.#keys = keys;
    this.#current = new TokenForm(field, index, binding);
    this.#previous = index.previous.map((earlier) => new TokenForm(field, earlier, binding));
    this.isTruncated = [index, ...index.previous].some(({ bits }) => bits !== undefined);
  }

  /**
   * Whether stored tokens may have several forms.
   *
   * @throws what {@link KeySource.indexRoots} throws, with the name of the field
   */
  get isInTransition(): boolean {
    return this.#previous.length > 0 || this.#roots().length > 1;
  }

  /**
   * Returns the token that a value is written with: 43 characters, fewer if the index is truncated.
   *
   * @throws {@link UnsupportedValueError} if the value is not of the field's type, or cannot be compared
   * (NaN, a lone surrogate, whatever the normalizer refuses)
   * @throws what {@link KeySource.indexRoots} throws, with the name of the field
   */
  token(value: unknown): string {
    const content = this.#current.comparable(value);
    return this.#current.token(this.#roots(), 0, content);
  }

  /**
   * Returns every token that a row with the value may have: that of {@link BlindIndex.token} first, then
   * those under other roots and earlier definitions.
   *
   * @throws the same errors as {@link BlindIndex.token}
   */
  tokens(value: unknown): string[] {
    const current = this.token(value);
    return this.isInTransition ? [...this.#allTokens(value)] : [current];
  }

  /**
   * Whether a stored token of a value may come from a root, because it comes from no other.
   *
   * @throws the same errors as {@link BlindIndex.token}
   */
  mayBeOf(rootId: string, value: unknown, token: unknown): boolean {
    return typeof token !== 'string' || !this.#allTokens(value, rootId).has(token);
  }

  /**
   * Whether two values are equal to the index. Truncated tokens may be equal though the values are not.
   * `null` and `undefined` match nothing.
   *
   * @throws {@link UnsupportedValueError} as {@link BlindIndex.token} does
   */
  matches(a: unknown, b: unknown): boolean {
    if (a === null || a === undefined || b === null || b === undefined) return false;
    const left = this.comparable(a);
    const right = this.comparable(b);
    if (typeof left === 'string' || typeof right === 'string') return left === right;
    return Buffer.compare(left, right) === 0;
  }

  /**
   * Returns a test of whether a value may have one of the tokens by which some values are looked up: it is
   * equal to one of them by the present or a previous definition. A value that cannot be compared may not.
   */
  matcher(lookedUp: readonly unknown[]): (value: unknown) => boolean {
    const forms = [this.#current, ...this.#previous];
    const same = new Set(lookedUp);
    // Nearly always the very value that was looked up comes back.
    let contents: readonly Set<string | undefined>[] | undefined;
    return (value) => {
      if (same.has(value)) return true;
      contents ??= forms.map((form) => new Set(lookedUp.map((each) => contentKey(form, each))));
      const matches = forms.some((form, i) => {
        const key = contentKey(form, value);
        return key !== undefined && contents?.[i]?.has(key) === true;
      });
      // Equal values are normalized only once.
      if (matches) same.add(value);
      return matches;
    };
  }

  /**
   * Returns the content of a value that is hashed; for a string, the normalized one.
   *
   * @throws {@link UnsupportedValueError} as {@link BlindIndex.token} does
   */
  comparable(value: unknown): ValueContent {
    return this.#current.comparable(value);
  }

  #roots(): IndexRoots {
    try {
      return this.#keys.indexRoots();
    } catch (error) {
      throw keyUnusable(this.#field, error);
    }
  }

  #allTokens(value: unknown, exceptRootId?: string): Set<string> {
    const roots = this.#roots();
    const contents = [
      this.#current.comparable(value),
      ...this.#previous.map((form) => comparableIfAny(form, value)),
    ];
    const tokens = new Set<string>();
    for (const [i, form] of [this.#current, ...this.#previous].entries()) {
      const content = contents[i];
      if (content === undefined) continue;
      for (const [position, { id }] of roots.entries()) {
        if (id !== exceptRootId) tokens.add(form.token(roots, position, content));
      }
    }
    return tokens;
  }
}

function contentKey(form: TokenForm, value: unknown): string | undefined {
  const content = comparableIfAny(form, value);
  return content === undefined || typeof content === 'string'
    ? content
    : Buffer.from(content).toString('latin1');
}

/** Returns undefined for a value that an earlier definition refuses: no row has a token of it. */
function comparableIfAny(form: TokenForm, value: unknown): ValueContent | undefined {
  try {
    return form.comparable(value);
  } catch (error) {
    if (error instanceof UnsupportedValueError) return undefined;
    throw error;
  }
}
