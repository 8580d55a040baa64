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

/** Characters that JSON does not escape and no terminal shows: nobody is to approve what they cannot see. */
const UNSEEN =
  /[\u007f-\u009f\u2800]|\p{Default_Ignorable_Code_Point}|\p{Cf}|\p{Co}|\p{Cn}|\p{Zl}|\p{Zp}|\p{Cs}/u;

/** Whether a text has characters that nobody sees. */
export function hasUnseen(text: string): boolean {
  return UNSEEN.test(text);
}

/**
 * Writes a value as canonical JSON (RFC 8785): members sorted by their names, no white space, numbers and texts
 * as ECMAScript writes them.
 *
 * @throws {@link UnsupportedValueError} for a number that JSON does not have, and for hidden characters
 */
export function canonicalJson(value: CanonicalValue): string {
  if (typeof value === 'string' && hasUnseen(value)) throw refused('a hidden character');
  if (typeof value === 'number' && !Number.isFinite(value)) throw refused('no finite number');
  if (typeof value !== 'object' || value === null) return JSON.stringify(value ?? null);
  if (isList(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const names = Object.keys(value).filter((name) => value[name] !== undefined);
  const members = names
    .sort()
    .map((name) => `${canonicalJson(name)}:${canonicalJson(value[name])}`);
  return `{${members.join(',')}}`;
}

function isList(value: object): value is readonly CanonicalValue[] {
  return Array.isArray(value);
}

function refused(what: string): UnsupportedValueError {
  return new UnsupportedValueError(
    `An operation that needs approval has an option with ${what}, which nobody could approve.`,
  );
}
