import { inspect } from 'node:util';

/** What a sealed value shows of itself, whatever it is. */
export const MASK = '[sealed]';

/** Where a sealed value was read. */
export interface SealedPlace {
  readonly entity: string;
  readonly property: string;
  /** The primary key of its row, as text. */
  readonly primaryKey: readonly string[];
}

let placeOf: (sealed: Sealed) => SealedPlace;

/**
 * A value of an `@Encrypted({ read: 'sealed' })` property: its ciphertext, which is decrypted only by
 * {@link Sealed.reveal}. Text, JSON and logs of it show a constant mask.
 */
export class Sealed<T = unknown> {
  readonly #place: SealedPlace;
  readonly #reveal: () => Promise<unknown>;

  static {
    placeOf = (sealed) => sealed.#place;
  }

  /** @internal */
  constructor(place: SealedPlace, reveal: () => Promise<unknown>) {
    this.#place = place;
    this.#reveal = reveal;
  }

  /**
   * Decrypts the value, for the actor and the scope that are at work now.
   *
   * @throws {@link AccessDeniedError}, {@link ScopeMismatchError}, {@link ErasedError}, and whatever reading the
   * property throws otherwise
   */
  reveal(): Promise<T> {
    return this.#reveal() as Promise<T>;
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

/** Returns where a sealed value was read. */
export function sealedPlace(sealed: Sealed): SealedPlace {
  return placeOf(sealed);
}

/** Whether two sealed values are those of one property of one row. */
export function isSamePlace(a: SealedPlace, b: SealedPlace): boolean {
  return (
    a.entity === b.entity &&
    a.property === b.property &&
    a.primaryKey.length === b.primaryKey.length &&
    a.primaryKey.every((part, i) => part === b.primaryKey[i])
  );
}
