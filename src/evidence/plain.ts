/** A value as it is in JSON: dates as ISO 8601 texts in UTC, nothing undefined. */
export type Plain<T> = T extends Date
  ? string
  : T extends undefined
    ? null
    : T extends readonly (infer E)[]
      ? readonly Plain<E>[]
      : T extends object
        ? { readonly [P in keyof T]: Plain<T[P]> }
        : T;

/** Returns data as JSON can hold it. */
export function plain<T>(value: T): Plain<T> {
  return plainValue(value) as Plain<T>;
}

function plainValue(value: unknown): unknown {
  if (value === undefined) return null;
  // One that is none is from a row that cannot be read.
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (Array.isArray(value)) return value.map(plainValue);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, plainValue(member)]),
  );
}
