import { UnsupportedQueryError } from '../../errors';
import type { Installation } from '../installation';
import { tablePlace } from '../table-place';
import type { AnyQueryBuilder } from './any-query-builder';

/**
 * Refuses a write to the table of an encrypted entity, or to a view of it, under a name that TypeORM
 * does not map to the entity, such as `public.patient`: without column metadata its values would be
 * stored in clear.
 */
export function assertMappedTable(
  { expressionMap: { mainAlias } }: AnyQueryBuilder,
  installation: Installation,
): void {
  if (mainAlias === undefined || mainAlias.hasMetadata) return;
  const { tablePath } = mainAlias;
  if (tablePath === undefined) return;
  const { columns, dataSource } = installation;
  const place = tablePlace(dataSource, tablePath);
  for (const metadata of columns.byEntity.keys()) {
    if (tablePlace(dataSource, metadata.tablePath) === place)
      throw unmapped(metadata.name, 'table');
  }
  const viewed = installation.columnOfView(place);
  if (viewed !== undefined) throw unmapped(viewed.policy.entity, 'view of the table');
}

function unmapped(entity: string, what: string): UnsupportedQueryError {
  return new UnsupportedQueryError(
    `${entity}: a write names the ${what} of this encrypted entity in a way that TypeORM does not map to it, ` +
      'so nothing would be encrypted. Name the entity instead.',
    { entity },
  );
}
