import type { ObjectLiteral } from 'typeorm';

import type { SortKey } from './sort-order';

/** How strings are compared; an `Intl.Collator` is one. */
export interface TextCollator {
  compare(a: string, b: string): number;
}

/** How values that the database cannot compare are compared in its place. */
export interface Comparison {
  readonly collator: TextCollator | undefined;
  /** Whether NULL counts as the greatest value, or as the least. */
  readonly nullIsGreatest: boolean;
}

/** A row that was read to sort it. */
export interface ReadRow<T> {
  readonly entity: T;
  /** The ranks of its values in clear: the database alone knows which of them are equal. */
  readonly ranks: ReadonlyMap<SortKey, unknown>;
}

interface Row<T> {
  readonly entity: T;
  /** Where the database has it, which sorts by the keys in clear and then by the primary key. */
  readonly position: number;
  readonly values: readonly unknown[];
}

/** Sorts rows that come in the order of the keys in clear and then of the primary key. */
export function sortRows<T extends ObjectLiteral>(
  read: readonly ReadRow<T>[],
  keys: readonly SortKey[],
  comparison: Comparison,
): T[] {
  const rows = read.map(({ entity, ranks }, position) => ({
    entity,
    position,
    values: keys.map((key) =>
      key.encrypted === undefined
        ? ranks.get(key)
        : comparable(key.column.getEntityValue(entity), comparison),
    ),
  }));
  return rows.sort((a, b) => compareRows(a, b, keys, comparison)).map(({ entity }) => entity);
}

function compareRows<T>(
  a: Row<T>,
  b: Row<T>,
  keys: readonly SortKey[],
  comparison: Comparison,
): number {
  for (const [i, key] of keys.entries()) {
    const [left, right] = [a.values[i], b.values[i]];
    if (key.encrypted === undefined) {
      // All keys before it are equal: the next one in clear that differs has decided the positions.
      if (left !== right) return a.position - b.position;
      continue;
    }
    const order = compareNullable(left, right, key, comparison);
    if (order !== 0) return order;
  }
  return a.position - b.position;
}

/** Returns a text without a collator as its bytes: UTF-8 is in the order of code points, UTF-16 is not. */
function comparable(value: unknown, { collator }: Comparison): unknown {
  if (value === undefined) return null;
  return typeof value === 'string' && collator === undefined ? Buffer.from(value) : value;
}

function compareNullable(
  a: unknown,
  b: unknown,
  { nulls, descending }: SortKey,
  { collator, nullIsGreatest }: Comparison,
): number {
  if (a === null || b === null) {
    if (a === b) return 0;
    const nullsFirst = nulls === undefined ? nullIsGreatest === descending : nulls === 'first';
    return (a === null) === nullsFirst ? -1 : 1;
  }
  const order = compareValues(a, b, collator);
  return descending ? -order : order;
}

function compareValues(a: unknown, b: unknown, collator: TextCollator | undefined): number {
  if (typeof a === 'string') return collator?.compare(a, b as string) ?? 0;
  if (Buffer.isBuffer(a)) return Buffer.compare(a, b as Buffer);
  const [left, right] = [Number.isNaN(a), Number.isNaN(b)];
  // As on PostgreSQL, NaN is equal to itself and above all other numbers.
  if (left || right) return Number(left) - Number(right);
  const [x, y] = [a as number, b as number];
  return x < y ? -1 : Number(x > y);
}
