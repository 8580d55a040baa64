import { UnsupportedQueryError } from '../../../errors';
import { installationOf } from '../../installation/installations';
import type { Installation } from '../../installation/installation';
import { tablePlace } from '../../metadata/table-place';
import type { AnyQueryBuilder } from '../any-query-builder';

/**
 * Refuses a write to the table of an encrypted entity, or to a view of it, under a name that TypeORM
 * does not map to the entity, such as `public.patient`: without column metadata, its values would be
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

/**
 * Refuses a statement on an encrypted entity that has more parameters than the database accepts: index
 * columns have one for each row, and a lookup may compare with several tokens. The error of the database or
 * its driver would not name the cause. The library does not split the statement, whose parts would no
 * longer be atomic.
 */
export function assertParametersFit(
  builder: AnyQueryBuilder,
  parameters: readonly unknown[],
): void {
  const { parameterLimit, encryptedEntity } = installationOf(builder.connection);
  if (parameters.length <= parameterLimit) return;
  const { aliases, queryType, valuesSet } = builder.expressionMap;
  const alias = aliases.find((each) => each.hasMetadata && encryptedEntity(each.metadata));
  if (alias === undefined) return;
  const { name } = alias.metadata;
  const rows = Array.isArray(valuesSet) ? valuesSet.length : 0;
  const perStatement = Math.floor((rows * parameterLimit) / parameters.length);
  const remedy =
    queryType === 'insert' && rows > 0
      ? `Write at most ${String(perStatement)} of the ${String(rows)} rows in one: save(rows, { chunk: ${String(perStatement)} }), ` +
        'or insert and upsert in parts, within a transaction if they must be one.'
      : 'Ask for the values in parts.';
  throw new UnsupportedQueryError(
    `${name}: the statement has ${String(parameters.length)} parameters, those of encrypted columns and their indexes included, ` +
      `and the database takes ${String(parameterLimit)}. ${remedy}`,
    { entity: name },
  );
}
