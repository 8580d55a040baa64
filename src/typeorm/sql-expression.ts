import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { UnsupportedValueError } from '../errors';
import { rootEntityName } from './field-policies';

/** The error of an SQL expression given as the value of an encrypted property. */
export function sqlExpressionRefused(column: ColumnMetadata): UnsupportedValueError {
  const entity = rootEntityName(column.entityMetadata);
  const property = column.propertyPath;
  return new UnsupportedValueError(
    `${entity}.${property}: an SQL expression would be stored in clear. Give the value itself.`,
    { entity, property },
  );
}
