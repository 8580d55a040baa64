import { inspect } from 'node:util';

import { KIND } from '../encoding/text';
import { UnsupportedValueError } from '../errors';

/** What a sealed value shows of itself, whatever it is. */
const MASK = '[sealed]';

/** {@link MASK} in the text of a JSON value, as a value or a name in it. */
const MASK_IN_JSON = /(?<!\\)"\[sealed\]"/;

/** Where a sealed value was read. */
export interface SealedPlace {
  /** The DataSource. */
  readonly source: object;
  readonly entity: string;
  readonly property: string;
  /** The primary key of its row, as text. */
  readonly primaryKey: readonly string[];
}

/** Options of {@link Sealed.reveal}. */
export interface RevealOptions {
  /**
   * The manager of the transaction around the call, if another has read the value: a key that is not in memory is
   * read on its connection. Without it, a pool that transactions have exhausted is waited for in vain.
   */
  readonly manager?: { readonly queryRunner?: object | undefined };
}

/** What a sealed value is made of. */
export interface SealedParts {
  readonly stored: unknown;
  /** What the row has in the columns that the origin asks for; shared by the sealed values of a row. */
  readonly cells: readonly unknown[];
}

/** The column and the result that sealed values come from, which they share. */
export interface SealedOrigin {
  placeOf: (parts: SealedParts) => SealedPlace;
  reveal: (parts: SealedParts, options: RevealOptions) => Promise<unknown>;
}

/** The inside of a sealed value that was read from a row; undefined for a copy of one. */
let insideOf: (sealed: Sealed) => (SealedParts & { readonly origin: SealedOrigin }) | undefined;

/**
 * A value of an `@Encrypted({ read: 'sealed' })` property: its ciphertext, which is decrypted only by
 * {@link Sealed.reveal}. Text, JSON and logs of it show a constant mask.
 */
export class Sealed<T = unknown> {
  /** `[sealed]`. Copies keep it, whoever makes them, and are refused by it where they are written. */
  readonly mask = MASK;
  // Three words for each value: thousands are read that nobody reveals.
  readonly #origin: SealedOrigin;
  readonly #stored: unknown;
  readonly #cells: readonly unknown[];

  static {
    insideOf = (sealed) => {
      // A copy has the prototype without the fields, or was constructed without arguments.
      const origin = #origin in sealed ? (sealed.#origin as SealedOrigin | undefined) : undefined;
      return origin && { origin, stored: sealed.#stored, cells: sealed.#cells };
    };
    Object.defineProperty(this.prototype, KIND, {
      value: 'a sealed value (use what its reveal() returns)',
    });
  }

  /** @internal */
  constructor(origin: SealedOrigin, stored: unknown, cells: readonly unknown[]) {
    this.#origin = origin;
    this.#stored = stored;
    this.#cells = cells;
  }

  /**
   * Decrypts the value, for the actor and the scope that are at work now.
   *
   * @throws {@link AccessDeniedError}, {@link ScopeMismatchError}, {@link ErasedError}, and whatever reading the
   * property throws otherwise; {@link UnsupportedValueError} for a copy of a sealed value
   */
  async reveal(options: RevealOptions = {}): Promise<T> {
    const inside = insideOf(this);
    if (inside !== undefined) return (await inside.origin.reveal(inside, options)) as T;
    throw new UnsupportedValueError(
      'This is a copy of a sealed value, which holds nothing. Reveal the one in the entity that was read.',
    );
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [Symbol.toPrimitive](): string {
    return MASK;
  }

  [inspect.custom](): string {
    return MASK;
  }
}

/** Returns the inside of a sealed value, or undefined for a copy. */
export function sealedParts(
  sealed: Sealed,
): (SealedParts & { readonly origin: SealedOrigin }) | undefined {
  return insideOf(sealed);
}

/** Whether a sealed value was read from a property of a row. */
export function isFrom(sealed: Sealed, place: SealedPlace): boolean {
  const inside = insideOf(sealed);
  if (inside === undefined) return false;
  const { source, entity, property, primaryKey } = inside.origin.placeOf(inside);
  return (
    source === place.source &&
    entity === place.entity &&
    property === place.property &&
    primaryKey.length === place.primaryKey.length &&
    primaryKey.every((part, i) => part === place.primaryKey[i])
  );
}

/** Whether a value is what a sealed value shows of itself, or a plain object made of one. */
export function isMask(value: unknown): boolean {
  if (value === MASK) return true;
  return !(value instanceof Sealed) && (Object(value) as { mask?: unknown }).mask === MASK;
}

/** Whether the text of a JSON value holds a mask, or a copy of a sealed value. */
export function holdsMask(json: string): boolean {
  return MASK_IN_JSON.test(json);
}
