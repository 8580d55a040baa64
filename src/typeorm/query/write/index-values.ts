import type { ObjectLiteral } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { UnsupportedQueryError } from '../../../errors';
import { describeColumn } from '../../metadata/encrypted-column';
import type { EncryptedEntity } from '../../metadata/encrypted-column';

/**
 * Returns the value set of an UPDATE with the index columns of its encrypted properties, so that TypeORM
 * asks them for their tokens. Does not change the caller's object.
 */
export function withIndexColumns(entity: EncryptedEntity, values: ObjectLiteral): ObjectLiteral {
  if (!entity.indexed) return values;
  let extended = values;
  for (const { column, indexes } of entity.columns) {
    if (column.getEntityValue(values) === undefined) continue;
    for (const index of indexes) {
      extended = withPath(extended, index.column.propertyPath.split('.'));
    }
  }
  return extended;
}

/** Returns the columns of an INSERT with the index columns of its encrypted ones. */
export function columnsWithIndexes(
  entity: EncryptedEntity,
  columns: readonly ColumnMetadata[],
): ColumnMetadata[] {
  const all = new Set(columns);
  for (const { column, indexes } of entity.columns) {
    if (!all.has(column)) continue;
    for (const index of indexes) all.add(index.column);
  }
  return [...all];
}

function withPath(values: ObjectLiteral, [name = '', ...rest]: readonly string[]): ObjectLiteral {
  if (rest.length === 0) return { ...values, [name]: null };
  return { ...values, [name]: withPath((values[name] ?? {}) as ObjectLiteral, rest) };
}

/**
 * Refuses values for an index column without one for its property: with a token of another value, lookups
 * find the wrong row, or none. Beside a value for the property, TypeORM gets the token of that, whatever
 * the caller's object holds.
 */
export function assertNoExplicitTokens(entity: EncryptedEntity, values: ObjectLiteral): void {
  if (!entity.indexed) return;
  for (const encrypted of entity.columns) {
    for (const { column } of encrypted.indexes) {
      if (valueAt(values, column.propertyPath) === undefined) continue;
      if (encrypted.column.getEntityValue(values) !== undefined) continue;
      const { entity: name, property } = encrypted.policy;
      throw new UnsupportedQueryError(
        `${describeColumn(encrypted)}: its index column "${column.propertyPath}" cannot be written, ` +
          `since the library computes what it holds. Write ${property} instead.`,
        { entity: name, property },
      );
    }
  }
}

/** Returns a value as given, unlike `getEntityValue`, which computes the token. */
function valueAt(values: ObjectLiteral, path: string): unknown {
  let value: unknown = values;
  for (const name of path.split('.')) value = (value as ObjectLiteral | undefined | null)?.[name];
  return value;
}
