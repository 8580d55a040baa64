import type { EntityMetadata } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { UnsupportedQueryError } from '../../../errors';
import type { Installation } from '../../installation/installation';
import { queryRefused } from '../../metadata/encrypted-column';
import type { EncryptedColumn } from '../../metadata/encrypted-column';

/** One property of a sort order. */
export interface SortKey {
  readonly column: ColumnMetadata;
  /** Undefined for a column in clear, which the database sorts. */
  readonly encrypted: EncryptedColumn | undefined;
  readonly descending: boolean;
  /** Where NULLs come; undefined where the database decides. */
  readonly nulls: 'first' | 'last' | undefined;
}

/** A leaf of TypeORM's order: a direction, alone or with the place of NULLs. */
interface Direction {
  readonly direction?: unknown;
  readonly nulls?: unknown;
}

/**
 * Reads an order of find options.
 *
 * @throws {@link UnsupportedQueryError} for a property of a relation, an unknown one, and for JSON
 */
export function sortKeys(
  installation: Installation,
  metadata: EntityMetadata,
  order: object,
  prefix = '',
): SortKey[] {
  return Object.entries(order).flatMap(([name, value]: [string, unknown]) => {
    if (value === undefined) return [];
    const path = prefix + name;
    const column = metadata.findColumnWithPropertyPathStrict(path);
    if (column !== undefined) return sortKey(installation, column, value);
    if (metadata.findEmbeddedWithPropertyPath(path) === undefined) {
      throw noColumn(metadata, path);
    }
    return sortKeys(installation, metadata, value ?? {}, `${path}.`);
  });
}

function sortKey(installation: Installation, column: ColumnMetadata, value: unknown): SortKey {
  // An order would tell about tokens, which nobody gets to read.
  if (isTokenColumn(installation, column)) {
    throw noColumn(column.entityMetadata, column.propertyPath);
  }
  const encrypted = installation.encryptedColumn(column);
  if (encrypted?.policy.type === 'json') {
    throw queryRefused(encrypted, 'holds JSON, which has no order. Sort by another property.');
  }
  const { direction, nulls }: Direction =
    typeof value === 'object' && value !== null ? value : { direction: value };
  return {
    column,
    encrypted,
    descending: isDescending(column, direction),
    nulls: placeOfNulls(nulls),
  };
}

function isTokenColumn({ encryptedEntity }: Installation, column: ColumnMetadata): boolean {
  const { columns = [] } = encryptedEntity(column.entityMetadata) ?? {};
  return columns.some(({ indexes }) => indexes.some((index) => index.column === column));
}

function isDescending(
  { entityMetadata, propertyPath }: ColumnMetadata,
  direction: unknown,
): boolean {
  if (direction === -1 || /^desc$/i.test(String(direction))) return true;
  if (direction === 1 || /^asc$/i.test(String(direction))) return false;
  throw new UnsupportedQueryError(
    `${entityMetadata.name}.${propertyPath}: the direction of an order is 'ASC' or 'DESC'.`,
    { entity: entityMetadata.name, property: propertyPath },
  );
}

function placeOfNulls(nulls: unknown): SortKey['nulls'] {
  const place = String(nulls).toLowerCase();
  return place === 'first' || place === 'last' ? place : undefined;
}

function noColumn({ name }: EntityMetadata, property: string): UnsupportedQueryError {
  return new UnsupportedQueryError(
    `${name}.${property}: sorted() orders by columns of the entity itself, and this is none. ` +
      'Sort by another property, or in memory after reading.',
    { entity: name, property },
  );
}
