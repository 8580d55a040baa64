import type { EntityMetadata, EntityTarget, ObjectLiteral } from 'typeorm';
import { ConfigurationError } from '../errors';
import type { EncryptedColumn } from '../typeorm/metadata/encrypted-column';
import { escapedTable } from '../typeorm/connection/sql-dialect';
import type { Installation } from '../typeorm/installation/installation';

/** A table with encrypted columns, and the entity that stands for it. */
export interface EncryptedTable {
  readonly metadata: EntityMetadata;
  /** Escaped, with schema. */
  readonly name: string;
  readonly columns: readonly EncryptedColumn[];
}

/**
 * The tables with encrypted columns, each once: entities of a single-table inheritance share theirs.
 *
 * @throws {@link ConfigurationError} when `entities` names one without encrypted columns.
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
