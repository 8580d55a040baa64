import type { EntityMetadata } from 'typeorm';
import { UnsupportedQueryError } from '../../errors';
import type { Installation } from '../installation';
import type { AnyQueryBuilder } from './any-query-builder';

/**
 * Refuses a write to the table of an encrypted entity under a name that TypeORM does not map to the
 * entity, such as `public.patient`: without column metadata its values would be stored in clear.
 */
export function assertMappedTable(
  { expressionMap: { mainAlias } }: AnyQueryBuilder,
  { columns, dataSource }: Installation,
): void {
  if (mainAlias === undefined || mainAlias.hasMetadata) return;
  const { tablePath } = mainAlias;
  if (tablePath === undefined) return;
  const named = dataSource.driver.parseTableName(tablePath);
  for (const metadata of columns.byEntity.keys()) {
    const { schema, tableName } = dataSource.driver.parseTableName(metadata);
    const sameSchema =
      schema === undefined || named.schema === undefined || schema === named.schema;
    if (sameSchema && tableName.toLowerCase() === named.tableName.toLowerCase()) {
      throw unmappedTable(metadata);
    }
  }
}

function unmappedTable({ name }: EntityMetadata): UnsupportedQueryError {
  return new UnsupportedQueryError(
    `${name}: a write names the table of this encrypted entity in a way that TypeORM does not map to it, ` +
      'so nothing would be encrypted. Name the entity instead of the table.',
    { entity: name },
  );
}
