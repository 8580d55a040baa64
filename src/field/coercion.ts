import type { ValueType } from '../encoding/value-codec';

import type { FieldPolicy } from './field-policy';

const DECIMAL = /^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\s*$/i;
const INTEGER = /^\s*[+-]?\d+\s*$/;
const ZERO = /^\s*[+-]?[0.]+(?:e|\s*$)/i;
/** Without the hour 24, which `Date` moves into the next day. */
const ISO_DATE =
  /^(\d{4}-\d\d-\d\d)(?:[T ](?:[01]\d|2[0-3]):\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?$/;

type Coercion = (value: unknown) => unknown;

/** What a database or TypeORM turned into another type before the column was encrypted. */
const COERCIONS: Partial<Record<ValueType, Coercion>> = {
  string: (value) =>
    ['number', 'bigint', 'boolean'].includes(typeof value) ? String(value) : value,
  number: (value) =>
    typeof value === 'string' && DECIMAL.test(value) ? exactNumber(value) : value,
  bigint: (value) =>
    Number.isSafeInteger(value) || (typeof value === 'string' && INTEGER.test(value))
      ? BigInt(value as number | string)
      : value,
  boolean: toBoolean,
  date: (value) => (typeof value === 'string' ? (toDate(value) ?? value) : value),
};

/** Whether a type has values that are coerced to it: JSON has them of every kind, and bytes are nothing else. */
export function hasCoercion(type: ValueType): boolean {
  return type in COERCIONS;
}

/** Returns the value as the type of the field, if the field coerces and the value allows it; else as it is. */
export function coerced({ coerce, type }: FieldPolicy, value: unknown): unknown {
  return coerce ? (COERCIONS[type]?.(value) ?? value) : value;
}

/** Returns the text as it is if a number would not hold all its digits before the point, or be 0 in its place. */
function exactNumber(text: string): number | string {
  const number = Number(text);
  if (number === 0 && !ZERO.test(text)) return text;
  const isExact = Number.isInteger(number) ? Number.isSafeInteger(number) : Number.isFinite(number);
  return isExact ? number : text;
}

function toBoolean(value: unknown): unknown {
  const text = typeof value === 'number' ? String(value) : value;
  if (typeof text !== 'string') return value;
  if (/^(?:true|t|1)$/i.test(text)) return true;
  return /^(?:false|f|0)$/i.test(text) ? false : value;
}

/** Returns nothing for a day that no calendar has, which `Date` would move into the next month. */
function toDate(text: string): Date | undefined {
  const day = ISO_DATE.exec(text)?.[1];
  if (day === undefined) return undefined;
  const midnight = new Date(day);
  const date = new Date(text);
  const exists = !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(day);
  return exists && !Number.isNaN(date.getTime()) ? date : undefined;
}
