import type { EntityMetadata, EntityTarget, ObjectLiteral } from 'typeorm';

import { ConfigurationError } from '../errors';
import { escapedTable } from '../typeorm/dialect/escaped-table';
import type { Installation } from '../typeorm/installation/installation';
import type { EncryptedColumn } from '../typeorm/metadata/encrypted-column';

/** A table with encrypted columns, and its entity. */
export interface EncryptedTable {
  readonly metadata: EntityMetadata;
  /** Escaped, with schema. */
  readonly name: string;
  readonly columns: readonly EncryptedColumn[];
}

/**
 * Returns the tables with encrypted columns, each once: entities of a single-table inheritance share one.
 *
 * @throws {@link ConfigurationError} if `entities` names one without encrypted columns
 */
export function encryptedTables(
  { dataSource, columns: { byEntity } }: Installation,
  entities?: readonly EntityTarget<ObjectLiteral>[],
): EncryptedTable[] {
  const wanted = entities?.map((target) => tableEntity(dataSource.getMetadata(target)));
  const missing = wanted?.find((metadata) => !byEntity.has(metadata));
  if (missing !== undefined) {
    throw new ConfigurationError(
      `${missing.name} has no encrypted columns. Name entities that have.`,
      { entity: missing.name },
    );
  }
  return [...byEntity]
    .filter(([metadata]) => metadata.tableType !== 'entity-child')
    .filter(([metadata]) => wanted?.includes(metadata) ?? true)
    .map(([metadata, { columns }]) => ({
      metadata,
      name: escapedTable(dataSource, metadata),
      columns,
    }));
}

function tableEntity(metadata: EntityMetadata): EntityMetadata {
  return metadata.tableType === 'entity-child'
    ? tableEntity(metadata.parentEntityMetadata)
    : metadata;
}
