import type { DataSource, EntityMetadata } from 'typeorm';

import { escapedTable } from '../dialect/escaped-table';

/** A view in the database. */
export interface DatabaseView {
  readonly schema: string;
  readonly name: string;
  /** The SELECT, as the database writes it: with all columns named. */
  readonly definition: string;
}

/**
 * Fetches the views over some tables, and over these views, from PostgreSQL. In SQLite no view can be
 * written without a trigger.
 */
export async function databaseViews(
  dataSource: DataSource,
  tables: readonly EntityMetadata[],
): Promise<readonly DatabaseView[]> {
  if (dataSource.options.type !== 'postgres') return [];
  return dataSource.query<DatabaseView[]>(
    `WITH RECURSIVE base (oid) AS (
         SELECT to_regclass(name)::oid FROM unnest($1::text[]) AS name
       UNION
         SELECT r.ev_class FROM base
           JOIN pg_depend d ON d.refobjid = base.oid
            AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass
           JOIN pg_rewrite r ON r.oid = d.objid)
     SELECT n.nspname AS schema, v.relname AS name, pg_get_viewdef(v.oid) AS definition
       FROM base
       JOIN pg_class v ON v.oid = base.oid AND v.relkind IN ('v', 'm')
       JOIN pg_namespace n ON n.oid = v.relnamespace`,
    [tables.map((metadata) => escapedTable(dataSource, metadata))],
  );
}
