import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { isWellFormed } from '../../encoding/text';
import { UnsupportedValueError } from '../../errors';
import { utf8 } from '../../field/row-context';
import { dialectOf } from '../dialect/dialect-of';

/**
 * Returns the one form that equal values have, as the bytes of its UTF-8; `undefined` for a value that the
 * column cannot hold exactly.
 */
type Canonical = (stored: unknown) => string | undefined;

const TEXT_TYPES = [
  ...['character varying', 'varchar', 'text', 'nvarchar', 'enum'],
  ...['tinytext', 'mediumtext', 'longtext'],
];

/** By the type of a column in the database, as its driver normalizes it. Others may change what is stored. */
const FORMS: Readonly<Record<string, (column: ColumnMetadata) => Canonical>> = {
  ...formOf(integers, [
    ...['integer', 'bigint', 'smallint', 'int', 'int2', 'int8', 'tinyint', 'mediumint'],
    'unsigned big int',
  ]),
  ...formOf(texts, TEXT_TYPES),
  ...formOf(() => uuid, ['uuid']),
  ...formOf(() => bytes, ['bytea', 'blob', 'mediumblob', 'longblob']),
};

function formOf<T>(form: T, types: readonly string[]): Record<string, T> {
  return Object.fromEntries(types.map((type) => [type, form]));
}

/**
 * Returns why the values of a column have no canonical form; `undefined` if they have: 42 and '42' in a column
 * of integers are the same.
 */
export function canonicalProblem(column: ColumnMetadata): string | undefined {
  const type = typeOf(column);
  if (!Object.hasOwn(FORMS, type) || column.isArray) {
    return (
      `has the type "${type}", whose stored form may differ from what was written. ` +
      'Name a column of an integer, text, uuid or binary type'
    );
  }
  return column.collation === undefined
    ? undefined
    : 'has a collation, under which different values may be equal. Name a column without one';
}

/**
 * Returns what makes the canonical form of values of a column, as the database has them; with a character for
 * each byte of its UTF-8.
 *
 * It throws {@link UnsupportedValueError} for NULL, and for a value that the column does not hold exactly.
 */
export function canonicalForm(column: ColumnMetadata): (stored: unknown) => string {
  const type = typeOf(column);
  const form = FORMS[type]?.(column);
  return (stored) => {
    const canonical = form?.(stored);
    if (canonical !== undefined) return canonical;
    throw notCanonical(column, type, stored);
  };
}

/** Whether a column holds texts that have to be equal in their bytes. */
export function isText(column: ColumnMetadata): boolean {
  return TEXT_TYPES.includes(typeOf(column));
}

function notCanonical(
  { entityMetadata, propertyPath: property }: ColumnMetadata,
  type: string,
  stored: unknown,
): UnsupportedValueError {
  const entity = entityMetadata.name;
  const what =
    stored === null || stored === undefined
      ? 'the row has no value for it'
      : TEXT_TYPES.includes(type) && typeof stored !== 'string'
        ? `its value is a ${typeof stored}, which the database turns into text in its own way: pass a string`
        : `its value is not one that the type "${type}" holds exactly`;
  return new UnsupportedValueError(
    `${entity}.${property}: encrypted values of the row are bound to it, and ${what}. Set it before the row ` +
      'is written, to a value of the declared type.',
    { entity, property },
  );
}

function typeOf(column: ColumnMetadata): string {
  return column.entityMetadata.connection.driver.normalizeType(column).toLowerCase();
}

function integers({ entityMetadata }: ColumnMetadata): Canonical {
  const isExact = dialectOf(entityMetadata.connection).values.hasExactIntegers;
  return (stored) => {
    if (typeof stored === 'number')
      return Number.isSafeInteger(stored) ? String(stored) : undefined;
    const isText = typeof stored === 'string' && /^-?\d{1,20}$/.test(stored);
    if (!isText && typeof stored !== 'bigint') return undefined;
    const value = BigInt(stored);
    return isExact || Number.isSafeInteger(Number(value)) ? value.toString() : undefined;
  };
}

function texts(column: ColumnMetadata): Canonical {
  const { connection } = column.entityMetadata;
  // PostgreSQL and MySQL cut spaces off that are beyond the length, be it one that the driver gives.
  const length = connection.driver.getColumnLength(column);
  const most = length === '' ? Infinity : Number(length);
  const mostBytes = dialectOf(connection).values.textBytes?.[typeOf(column)] ?? Infinity;
  return (stored) => {
    // A number is not the text that it becomes: drivers of SQLite make '5' or '5.0' of 5.
    if (typeof stored !== 'string' || stored.length > most) return undefined;
    // MySQL takes labels in other letters, and stores its own.
    if (column.enum?.includes(stored) === false || !isWellFormed(stored)) return undefined;
    const canonical = utf8(stored);
    return canonical.length <= mostBytes ? canonical : undefined;
  };
}

function uuid(stored: unknown): string | undefined {
  if (typeof stored !== 'string') return undefined;
  const digits = stored.toLowerCase().replace(/^\{|\}$|-/g, '');
  return /^[0-9a-f]{32}$/.test(digits) ? digits : undefined;
}

function bytes(stored: unknown): string | undefined {
  return stored instanceof Uint8Array ? Buffer.from(stored).toString('hex') : undefined;
}
