import type { ObjectLiteral } from 'typeorm';
import type { EncryptedEntity } from '../encrypted-column';

/**
 * The value set of an UPDATE with the hidden index columns of its encrypted properties named, so
 * that TypeORM asks them for their tokens. The caller's object stays as it is.
 */
export function withIndexColumns(entity: EncryptedEntity, values: ObjectLiteral): ObjectLiteral {
  let extended = values;
  for (const { column, indexes } of entity.columns) {
    if (column.getEntityValue(values) === undefined) continue;
    for (const index of indexes) {
      extended = withPath(extended, index.column.propertyPath.split('.'));
    }
  }
  return extended;
}

function withPath(values: ObjectLiteral, [name = '', ...rest]: readonly string[]): ObjectLiteral {
  if (rest.length === 0) return { ...values, [name]: null };
  return { ...values, [name]: withPath((values[name] ?? {}) as ObjectLiteral, rest) };
}
