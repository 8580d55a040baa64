import { UnsupportedValueError } from '../errors';

/** A value that has one canonical form. Members that are `undefined` are left out. */
export type CanonicalValue =
  | string
  | number
  | boolean
  | null
  | undefined
  | readonly CanonicalValue[]
  | { readonly [name: string]: CanonicalValue };

/**
 * Writes a value as canonical JSON (RFC 8785): members sorted by their names, no white space, numbers and texts
 * as ECMAScript writes them.
 *
 * @param checkText - throws for a text, or a name, that the value must not have. Defaults to accepting all.
 * @throws {@link UnsupportedValueError} for a number that JSON does not have
 */
export function canonicalJson(
  value: CanonicalValue,
  checkText: (text: string) => void = () => undefined,
): string {
  if (typeof value === 'string') checkText(value);
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new UnsupportedValueError('JSON has finite numbers only.');
  }
  if (typeof value !== 'object' || value === null) return JSON.stringify(value ?? null);
  const write = (part: CanonicalValue): string => canonicalJson(part, checkText);
  if (isList(value)) return `[${value.map(write).join(',')}]`;
  const names = Object.keys(value).filter((name) => value[name] !== undefined);
  const members = names.sort().map((name) => `${write(name)}:${write(value[name])}`);
  return `{${members.join(',')}}`;
}

function isList(value: object): value is readonly CanonicalValue[] {
  return Array.isArray(value);
}
