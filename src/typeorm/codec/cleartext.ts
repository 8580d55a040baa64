import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { KeyNotFoundError, UnsupportedValueError } from '../../errors';
import type { FieldPolicy } from '../../field/field-policy';
import { dialectOf } from '../dialect/dialect-of';
import type { Zone } from '../dialect/value-rules';

import { withZone, zonedDate } from './zoned-date';

/** Reads cleartext that this library did not write as the declared type; `undefined` if it is not of that type. */
export function parseCleartext({ type }: FieldPolicy, cleartext: string | Uint8Array): unknown {
  if (type === 'bytes') {
    return typeof cleartext === 'string' ? Buffer.from(cleartext, 'utf8') : Buffer.from(cleartext);
  }
  const text = typeof cleartext === 'string' ? cleartext : Buffer.from(cleartext).toString('utf8');
  switch (type) {
    case 'string':
      return text;
    case 'number':
      return text.trim() === '' || Number.isNaN(Number(text)) ? undefined : Number(text);
    case 'bigint':
      return /^-?\d+$/.test(text) ? BigInt(text) : undefined;
    case 'boolean':
      return parseBoolean(text);
    case 'date': {
      const date = new Date(text);
      return Number.isNaN(date.getTime()) ? undefined : date;
    }
    case 'json':
      return parseJson(text);
  }
}

function parseBoolean(text: string): boolean | undefined {
  if (/^(?:t|true|1)$/i.test(text)) return true;
  return /^(?:f|false|0)$/i.test(text) ? false : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** The column of a cleartext row. */
interface LegacyColumn {
  readonly column: ColumnMetadata;
  readonly policy: FieldPolicy;
}

/**
 * Reads a cleartext row of a column that is being encrypted, as its declared type.
 *
 * @throws {@link UnsupportedValueError} if it does not hold that type
 */
export function readLegacyPlaintext({ column, policy }: LegacyColumn, stored: unknown): unknown {
  const cleartext = stored as string | Uint8Array;
  const value = parseCleartext(
    policy,
    policy.type === 'date'
      ? withZone(Buffer.from(cleartext).toString('utf8'), zoneOf(column))
      : cleartext,
  );
  if (value !== undefined) return value;
  const { entity, property, type } = policy;
  throw new UnsupportedValueError(
    `${entity}.${property}: a cleartext row does not hold a ${type}. Correct the row.`,
    { entity, property },
  );
}

/**
 * Adds to the error of an unknown key what to do if the row is cleartext in the very form of a ciphertext.
 * It is not read as such: it may as well be a ciphertext whose key was lost. Any other error stays as it is.
 */
export function maybeCleartext({ entity, property }: FieldPolicy, error: unknown): unknown {
  if (!(error instanceof KeyNotFoundError)) return error;
  return new KeyNotFoundError(
    `${error.message} If the row is not encrypted yet and its text merely has the form of a ciphertext, write it ` +
      `again without reading it, which encrypts any text: repository.update(id, { ${property}: text }).`,
    { entity, property, cause: error, ...(error.keyId !== undefined && { keyId: error.keyId }) },
  );
}

/** Formats a date as cleartext, in ISO 8601: in the zone of dates without one, whose columns keep the time alone. */
export function dateCleartext({ column }: Pick<LegacyColumn, 'column'>, date: Date): string {
  const { time, offset } = zonedDate(date, zoneOf(column));
  return `${time}${offset}`;
}

/** Returns the zone of cleartext dates without one. */
export function zoneOf({ entityMetadata: { connection } }: ColumnMetadata): Zone {
  return dialectOf(connection).values.zone(connection);
}
