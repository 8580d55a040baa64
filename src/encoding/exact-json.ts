import { types } from 'node:util';

import { describeValue, isWellFormed } from './text';
import { ValueCodecError } from './value-codec-error';

/** Deeper values, and cycles, are refused before the stack is at risk. */
const MAX_DEPTH = 512;

/**
 * Serializes a value as `JSON.stringify` does, but refuses values that it would silently change.
 *
 * Like it, calls `toJSON` (so that a valid Date becomes its ISO text) and leaves out object properties that
 * are `undefined`. Unlike it, writes -0 as `-0`, which comes back exactly.
 *
 * @throws {@link ValueCodecError} that names the obstacle: bigint, NaN or infinity, function, symbol,
 * undefined outside an object, hole in an array, lone surrogate, invalid Date, Map, Set, bytes and other
 * built-ins that JSON flattens, a getter or `toJSON` that throws, nesting beyond 512 levels.
 */
export function stringifyExactly(value: unknown): string {
  try {
    return writeValue(value, '', 0);
  } catch (error) {
    if (error instanceof ValueCodecError) throw error;
    // The error of a getter, toJSON or proxy may quote the value, and is not passed on.
    throw new ValueCodecError('a getter, toJSON or proxy threw while the value was being read');
  }
}

function writeValue(value: unknown, key: string, depth: number): string {
  switch (typeof value) {
    case 'string':
      return writeString(value);
    case 'number':
      return writeNumber(value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      return value === null ? 'null' : writeObject(value, key, depth);
    default:
      throw new ValueCodecError(`JSON cannot hold ${describeValue(value)}`);
  }
}

function writeString(text: string): string {
  if (!isWellFormed(text)) throw new ValueCodecError('JSON text holds a lone surrogate');
  return JSON.stringify(text);
}

function writeNumber(value: number): string {
  if (!Number.isFinite(value)) throw new ValueCodecError('JSON cannot hold NaN or an infinity');
  return Object.is(value, -0) ? '-0' : String(value);
}

function writeObject(value: object, key: string, depth: number): string {
  if (depth >= MAX_DEPTH) {
    throw new ValueCodecError(
      `JSON is nested deeper than ${String(MAX_DEPTH)} levels or refers to itself in a cycle`,
    );
  }
  refuseFlattened(value);
  const toJson: unknown = readProperty(value, 'toJSON');
  if (typeof toJson === 'function') return writeConverted(value, toJson, key, depth);
  return Array.isArray(value) ? writeArray(value, depth) : writeMembers(value, depth);
}

/** Refuses built-ins whose content JSON drops or disguises: `{}` for a Map, an index map for bytes. */
function refuseFlattened(value: object): void {
  if (types.isDate(value)) {
    if (Number.isNaN(Date.prototype.getTime.call(value))) {
      throw new ValueCodecError('JSON cannot hold an invalid Date');
    }
    return;
  }
  if (Array.isArray(value)) return;
  const kind = describeValue(value);
  if (kind !== 'an object') throw new ValueCodecError(`JSON cannot hold ${kind}`);
}

function readProperty(value: object, key: string): unknown {
  return (value as Record<string, unknown>)[key];
}

function writeConverted(value: object, toJson: unknown, key: string, depth: number): string {
  const convert = toJson as (this: object, key: string) => unknown;
  const converted = convert.call(value, key);
  if (typeof converted !== 'object' || converted === null) {
    return writeValue(converted, key, depth);
  }
  // Like JSON.stringify, calls toJSON once, even if its result has one as well.
  refuseFlattened(converted);
  return Array.isArray(converted) ? writeArray(converted, depth) : writeMembers(converted, depth);
}

function writeArray(items: readonly unknown[], depth: number): string {
  let text = '[';
  for (let index = 0; index < items.length; index += 1) {
    if (!(index in items)) throw new ValueCodecError('JSON cannot hold an array with holes');
    text += (index === 0 ? '' : ',') + writeValue(items[index], String(index), depth + 1);
  }
  return `${text}]`;
}

function writeMembers(value: object, depth: number): string {
  let text = '{';
  for (const key of Object.keys(value)) {
    const member = readProperty(value, key);
    if (member === undefined) continue;
    text += `${text.length === 1 ? '' : ','}${writeString(key)}:${writeValue(member, key, depth + 1)}`;
  }
  return `${text}}`;
}
