import type { EntitySchema } from 'typeorm';

import { decodeBase64url } from '../../encoding/base64url';

/** Reads what a cell holds, and throws for anything that this library does not write there. */
export type ReadCell<T> = (value: unknown) => T;

/** A cell that could not be read. */
export interface UnreadableCell {
  /** Its name in the database. */
  readonly column: string;
  readonly cause: unknown;
}

/**
 * A row of one of the library's own tables. Anyone who can write to the database can put anything into a
 * cell, and SQLite keeps values of any type in a column of numbers: each cell is read as what the library
 * writes there, and those that hold something else are noted.
 */
export class StoredRow<R extends object> {
  readonly #columns: Readonly<Record<string, { readonly name?: string } | undefined>>;
  readonly #row: R;
  readonly unreadable: UnreadableCell[] = [];

  constructor(schema: EntitySchema<R>, row: R) {
    this.#columns = schema.options.columns;
    this.#row = row;
  }

  /** @param otherwise - stands for a cell that cannot be read. */
  cell<T>(property: keyof R & string, read: ReadCell<T>, otherwise: T): T {
    try {
      return read(this.#row[property]);
    } catch (cause) {
      const column = this.#columns[property]?.name ?? property;
      this.unreadable.push({ column, cause });
      return otherwise;
    }
  }

  /** A {@link StoredRow.cell} that may be NULL. */
  nullable<T>(property: keyof R & string, read: ReadCell<T>, otherwise: T | null): T | null {
    return this.#row[property] === null ? null : this.cell<T | null>(property, read, otherwise);
  }

  text(property: keyof R & string): string {
    return this.cell(property, readText, '');
  }

  textOrNull(property: keyof R & string): string | null {
    return this.nullable(property, readText, '');
  }
}

export const readText: ReadCell<string> = (value) => {
  if (typeof value === 'string') return value;
  throw new TypeError('it is no text');
};

export function readOneOf<T extends string | number>(values: readonly T[]): ReadCell<T> {
  return (value) => {
    const found = values.find((each) => each === value);
    if (found !== undefined) return found;
    throw new RangeError(`it is none of ${values.join(', ')}`);
  };
}

/** Reads a whole number from 0 on. Drivers return a bigint as text. */
export function readNumberUpTo(most: number): ReadCell<number> {
  return (value) => {
    const number = typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value;
    if (isWholeNumber(number) && number <= most) return number;
    throw new RangeError(`it is no whole number from 0 to ${String(most)}`);
  };
}

export const readWholeNumber = readNumberUpTo(Number.MAX_SAFE_INTEGER);

export const readDate: ReadCell<Date> = (value) => {
  const date = new Date(readText(value));
  if (!Number.isNaN(date.getTime())) return date;
  throw new RangeError('it is no date');
};

/** Reads bytes from base64url. */
export const readBytes: ReadCell<Buffer> = (value) => {
  const bytes = decodeBase64url(readText(value));
  if (bytes !== undefined) return bytes;
  throw new TypeError('it is no base64url');
};

/** Reads a JSON object of numbers. */
export const readCounts: ReadCell<Record<string, number>> = (value) => {
  const counts: unknown = JSON.parse(readText(value));
  if (isCounts(counts)) return counts;
  throw new TypeError('it is no JSON object of numbers');
};

export function isWholeNumber(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function isCounts(value: unknown): value is Record<string, number> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((count) => typeof count === 'number');
}
