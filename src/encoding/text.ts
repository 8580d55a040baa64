import { types } from 'node:util';

/** ECMAScript 2024: in every supported Node.js, but not in the type library that the code is compiled with. */
interface WellFormedString {
  isWellFormed(): boolean;
}

/** Whether a string has no lone surrogate, and so survives UTF-8 unchanged. */
export function isWellFormed(text: string): boolean {
  return (text as unknown as WellFormedString).isWellFormed();
}

/** Names the kind of a value for an error message, such as `a number` or `an array`, never the value. */
export function describeValue(value: unknown): string {
  if (value === null) return 'null';
  if (value === undefined) return 'undefined';
  if (typeof value === 'object') return describeObject(value);
  return `a ${typeof value}`;
}

/** The property by which a class names its instances for {@link describeValue}. JSON and other types do not hold these. */
export const KIND = Symbol('kind');

function describeObject(value: object): string {
  // A proxy may throw on any access, even from Array.isArray.
  if (types.isProxy(value)) return 'an object';
  const { [KIND]: kind } = value as { readonly [KIND]?: string };
  if (kind !== undefined) return kind;
  if (Array.isArray(value)) return 'an array';
  const builtIn = BUILT_INS.find(([, test]) => test(value));
  return builtIn === undefined ? 'an object' : builtIn[0];
}

/** `util.types` checks internal slots, so that values from another realm (vm, jest) are recognized too. */
const BUILT_INS: readonly (readonly [string, (value: unknown) => boolean])[] = [
  ['a Date', types.isDate],
  ['a Uint8Array', types.isUint8Array],
  ['a typed array', types.isArrayBufferView],
  ['an ArrayBuffer', types.isAnyArrayBuffer],
  ['a Map', types.isMap],
  ['a Set', types.isSet],
  ['a WeakMap', types.isWeakMap],
  ['a WeakSet', types.isWeakSet],
  ['a regular expression', types.isRegExp],
  ['an Error', types.isNativeError],
  ['a Promise', types.isPromise],
  ['a boxed primitive', types.isBoxedPrimitive],
];
