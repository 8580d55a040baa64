import type { DataSource, EntityMetadata, QueryRunner } from 'typeorm';
import { RawSqlResultsToEntityTransformer } from 'typeorm/query-builder/transformer/RawSqlResultsToEntityTransformer.js';

import { installationOf, isInstalled } from '../installation/installations';
import { hydrate, RawRows } from '../query/hydration/bound-rows';
import type { Row } from '../query/hydration/raw-result';

/** The part of TypeORM's transformer that is used. */
interface Transformer {
  /** That of the builder, if it was given one. */
  readonly queryRunner?: QueryRunner | undefined;
  transformColumns: (
    this: Transformer,
    rows: readonly Row[],
    alias: { readonly name: string },
    entity: object,
    metadata: EntityMetadata,
  ) => boolean;
}

/** The rows of each alias, by the transformer of a result; `undefined` if no entity has bound or sealed columns. */
const rawRows = new WeakMap<Transformer, Map<string, RawRows> | undefined>();

/** Makes the row known from which an entity gets its columns: the driver hydrates each value by itself. */
export function knowHydratedRows(): void {
  const prototype = RawSqlResultsToEntityTransformer.prototype as unknown as Transformer;
  const { transformColumns } = prototype;
  prototype.transformColumns = function (rows, alias, entity, metadata) {
    const known = rowsOf(this, alias.name, metadata.connection);
    const [row] = rows;
    if (known === undefined || row === undefined) {
      return transformColumns.call(this, rows, alias, entity, metadata);
    }
    const outer = hydrate(known.at(row));
    try {
      return transformColumns.call(this, rows, alias, entity, metadata);
    } finally {
      hydrate(outer);
    }
  };
}

function rowsOf(
  transformer: Transformer,
  alias: string,
  dataSource: DataSource,
): RawRows | undefined {
  let byAlias = rawRows.get(transformer);
  if (byAlias === undefined && !rawRows.has(transformer)) {
    byAlias = needsRows(dataSource) ? new Map() : undefined;
    rawRows.set(transformer, byAlias);
  }
  const known = byAlias?.get(alias);
  if (byAlias === undefined || known !== undefined) return known;
  const made = new RawRows(installationOf(dataSource), alias, transformer.queryRunner);
  byAlias.set(alias, made);
  return made;
}

function needsRows(dataSource: DataSource): boolean {
  if (!isInstalled(dataSource)) return false;
  const { encryptedEntity } = installationOf(dataSource);
  return dataSource.entityMetadatas.some((metadata) => {
    const { columns = [], isBound = false } = encryptedEntity(metadata) ?? {};
    return isBound || columns.some(({ isSealed }) => isSealed);
  });
}
