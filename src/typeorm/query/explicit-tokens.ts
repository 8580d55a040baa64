import type { ObjectLiteral } from 'typeorm';
import { UnsupportedQueryError } from '../../errors';
import { describeColumn } from '../encrypted-column';
import type { EncryptedEntity } from '../encrypted-column';

/**
 * Refuses values for a hidden index column where its property has none: a token that is not of the
 * value beside it makes lookups find the wrong row, or none. Beside a value for the property TypeORM is
 * given the token of that, whatever the caller's object holds.
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

/** Not `getEntityValue`, which computes the token. */
function valueAt(values: ObjectLiteral, path: string): unknown {
  let value: unknown = values;
  for (const name of path.split('.')) value = (value as ObjectLiteral | undefined | null)?.[name];
  return value;
}
