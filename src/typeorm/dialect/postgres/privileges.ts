import type { EntityMetadata, QueryRunner } from 'typeorm';

import { ConfigurationError } from '../../../errors';
import { RIGHTS } from '../database-catalog';
import type { Right } from '../database-catalog';
import { escapedTable } from '../escaped-table';
import { rightRemedy } from '../right-remedy';

import { quotedName } from './names';

const ACCESS_SQL =
  "SELECT to_regclass($1) AS oid, has_table_privilege(to_regclass($1), 'SELECT') AS readable, " +
  "current_user AS role, current_setting('search_path') AS path";

/** A row of {@link ACCESS_SQL}. */
interface TableAccess {
  readonly oid: string | null;
  readonly readable: boolean;
  readonly role: string;
  readonly path: string;
}

/**
 * Whether a table exists. TypeORM's own method overlooks tables that the role has no rights on, and those
 * outside the first schema of the search path: both would be reported as missing.
 */
export async function tableExists(runner: QueryRunner, tablePath: string): Promise<boolean> {
  if (await runner.hasTable(tablePath)) return true;
  const [table] = (await runner.query(ACCESS_SQL, [
    tablePath.split('.').map(quotedName).join('.'),
  ])) as TableAccess[];
  if (table === undefined || table.oid === null) return false;
  if (table.readable) {
    throw new ConfigurationError(
      `The table ${tablePath} is there, and not in the first schema of the search path, where TypeORM looks ` +
        `for it. The search path of the database role "${table.role}" is: ${table.path}. Put the schema of the ` +
        'table first there (ALTER ROLE … SET search_path), or name it by the option schema of the DataSource.',
    );
  }
  throw new ConfigurationError(
    `The database role "${table.role}" has no permission to read (SELECT) table ${tablePath}, which is there. ` +
      rightRemedy(`GRANT SELECT ON ${tablePath} TO "${table.role}"`),
  );
}

/** Fetches the rights of the role on a table, or on any of its columns. */
export async function rights(
  runner: QueryRunner,
  metadata: EntityMetadata,
): Promise<ReadonlySet<Right> | undefined> {
  const [row] = (await runner.query(
    `SELECT to_regclass($1) IS NOT NULL AS there, ARRAY(
       SELECT r FROM unnest($2::text[]) AS r WHERE
         has_table_privilege(to_regclass($1)::oid, r)
         OR r IN ('SELECT', 'INSERT', 'UPDATE') AND has_any_column_privilege(to_regclass($1)::oid, r)
     ) AS rights`,
    [escapedTable(runner.connection, metadata), RIGHTS],
  )) as { there: boolean; rights: Right[] }[];
  return row?.there === true ? new Set(row.rights) : undefined;
}

export async function mayRead(
  runner: QueryRunner,
  metadata: EntityMetadata,
  columns: readonly string[],
): Promise<boolean> {
  const [row] = (await runner.query(
    `SELECT bool_and(has_column_privilege($1::text, a.attname::text, 'SELECT')) AS may
       FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attname::text = ANY($2)`,
    [escapedTable(runner.connection, metadata), columns],
  )) as { may: boolean | null }[];
  return row?.may === true;
}
