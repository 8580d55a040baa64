import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

/**
 * Returns the columns that an option names by a property path: beside the property if it is in an embedded
 * class, else in the entity. Several for a relation over several columns, none for anything else.
 */
export function namedColumns(source: ColumnMetadata, path: string): ColumnMetadata[] {
  const { entityMetadata: metadata, embeddedMetadata } = source;
  const beside = embeddedMetadata && `${embeddedMetadata.propertyPath}.${path}`;
  const besides = beside === undefined ? [] : metadata.findColumnsWithPropertyPath(beside);
  return besides.length > 0 ? besides : metadata.findColumnsWithPropertyPath(path);
}

/** Whether TypeORM or the database sets a column. */
export function isMadeByOthers(column: ColumnMetadata): boolean {
  return (
    column.isGenerated ||
    column.isVersion ||
    column.isCreateDate ||
    column.isUpdateDate ||
    column.isDiscriminator ||
    column.isTreeLevel ||
    column.isVirtualProperty ||
    column.isMaterializedPath ||
    column.isNestedSetLeft ||
    column.isNestedSetRight ||
    column.asExpression !== undefined
  );
}
