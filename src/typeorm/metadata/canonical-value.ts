import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { UnsupportedValueError } from '../../errors';
import { isWellFormed } from '../../encoding/text';

/** Returns the one form that equal values of a column have; `undefined` for a value that it cannot hold exactly. */
type Canonical = (stored: unknown, column: ColumnMetadata) => string | undefined;

/** By the type of the column in the database, as its driver normalizes it. Others may change what is stored. */
const FORMS: Readonly<Record<string, Canonical>> = {
  ...formOf(integer, [
    ...['integer', 'bigint', 'smallint', 'int', 'int2', 'int8', 'tinyint', 'mediumint'],
    'unsigned big int',
  ]),
  ...formOf(text, ['character varying', 'varchar', 'text', 'nvarchar', 'enum']),
  ...formOf(uuid, ['uuid']),
  ...formOf(bytes, ['bytea', 'blob']),
};

function formOf(form: Canonical, types: readonly string[]): Record<string, Canonical> {
  return Object.fromEntries(types.map((type) => [type, form]));
}

/**
 * Returns why the values of a column have no canonical form; `undefined` if they have: 42 and '42' in a column
 * of integers are the same.
 */
export function canonicalProblem(column: ColumnMetadata): string | undefined {
  if (formsOf(column) === undefined || column.isArray) {
    return (
      `has the type "${typeOf(column)}", whose stored form may differ from what was written. ` +
      'Name a column of an integer, text, uuid or binary type'
    );
  }
  return column.collation === undefined
    ? undefined
    : 'has a collation, under which different values may be equal. Name a column without one';
}

/**
 * Returns the canonical form of a value as the database has it.
 *
 * @throws {@link UnsupportedValueError} for NULL, and for a value that the column does not hold exactly
 */
export function canonicalStored(column: ColumnMetadata, stored: unknown): string {
  const form = formsOf(column);
  const canonical = form?.(stored, column);
  if (canonical !== undefined) return canonical;
  const entity = column.entityMetadata.name;
  const property = column.propertyPath;
  const what =
    stored === null || stored === undefined
      ? 'the row has no value for it'
      : `its value is not one that the type "${typeOf(column)}" holds exactly`;
  throw new UnsupportedValueError(
    `${entity}.${property}: encrypted values of the row are bound to it, and ${what}. Set it before the row ` +
      'is written, to a value of the declared type.',
    { entity, property },
  );
}

function formsOf(column: ColumnMetadata): Canonical | undefined {
  const type = typeOf(column);
  return Object.hasOwn(FORMS, type) ? FORMS[type] : undefined;
}

function typeOf(column: ColumnMetadata): string {
  return column.entityMetadata.connection.driver.normalizeType(column).toLowerCase();
}

function integer(stored: unknown, { entityMetadata }: ColumnMetadata): string | undefined {
  if (typeof stored === 'number') return Number.isSafeInteger(stored) ? String(stored) : undefined;
  const isText = typeof stored === 'string' && /^-?\d{1,20}$/.test(stored);
  if (!isText && typeof stored !== 'bigint') return undefined;
  const value = BigInt(stored);
  // SQLite returns numbers, which would be other ones.
  const isExact = entityMetadata.connection.options.type === 'postgres' || isSafe(value);
  return isExact ? value.toString() : undefined;
}

function isSafe(value: bigint): boolean {
  return Number.isSafeInteger(Number(value));
}

function text(stored: unknown, { length }: ColumnMetadata): string | undefined {
  if (typeof stored === 'bigint' || Number.isSafeInteger(stored)) return String(stored);
  if (typeof stored !== 'string' || !isWellFormed(stored)) return undefined;
  // PostgreSQL cuts spaces off that are beyond the length.
  return length !== '' && stored.length > Number(length) ? undefined : stored;
}

function uuid(stored: unknown): string | undefined {
  if (typeof stored !== 'string') return undefined;
  const digits = stored.toLowerCase().replace(/^\{|\}$|-/g, '');
  return /^[0-9a-f]{32}$/.test(digits) ? digits : undefined;
}

function bytes(stored: unknown): string | undefined {
  return stored instanceof Uint8Array ? Buffer.from(stored).toString('hex') : undefined;
}
