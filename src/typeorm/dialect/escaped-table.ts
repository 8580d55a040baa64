import type { DataSource, EntityMetadata } from 'typeorm';

/** Returns the table of an entity for SQL: escaped, with its schema if it has one. */
export function escapedTable({ driver }: DataSource, { tablePath }: EntityMetadata): string {
  return tablePath
    .split('.')
    .map((part) => driver.escape(part))
    .join('.');
}
