import type { DataSource, EntityMetadata } from 'typeorm';

/** The table of an entity for SQL: escaped, with its schema where it has one. */
export function escapedTable({ driver }: DataSource, { tablePath }: EntityMetadata): string {
  return tablePath
    .split('.')
    .map((part) => driver.escape(part))
    .join('.');
}
