import type { ObjectLiteral } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import type { EncryptedEntity } from '../encrypted-column';

/**
 * The value set of an UPDATE with the hidden index columns of its encrypted properties named, so
 * that TypeORM asks them for their tokens. The caller's object stays as it is.
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

/** The columns of an INSERT, with the index columns of its encrypted ones. */
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
