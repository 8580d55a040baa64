import { QueryFailedError } from 'typeorm';
import type { EntityMetadata, QueryRunner } from 'typeorm';

import { databaseCode } from '../database-code';
import type { Right } from '../database-catalog';

import { quotedPath } from './names';
import { inSchema } from './table-name';

/** The privileges by which a user has the rights of other databases. */
const PRIVILEGES: ReadonlyMap<string, Right> = new Map([
  ['SELECT', 'SELECT'],
  ['INSERT', 'INSERT'],
  ['UPDATE', 'UPDATE'],
  ['DELETE', 'DELETE'],
  ['DROP', 'TRUNCATE'],
]);

/** Whether a grant is one of the user, or of a role that is enabled. */
const IS_OWN =
  "(grantee = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''') OR EXISTS (SELECT 1 FROM " +
  "information_schema.enabled_roles r WHERE grantee LIKE CONCAT('''', r.role_name, '''@%')))";

/** A privilege on a column, or on all of them. */
interface Granted {
  readonly privilege: string;
  readonly column: string | null;
}

/** Fetches what is granted on a table: everywhere, on its database, on it, or on its columns. */
async function granted(runner: QueryRunner, tablePath: string): Promise<Granted[]> {
  const { sql, values } = inSchema(tablePath);
  const database = sql.startsWith('table_schema = DATABASE()') ? 'DATABASE()' : '?';
  const ofDatabase = database === '?' ? values.slice(0, 1) : [];
  return (await runner.query(
    `SELECT privilege_type AS privilege, NULL AS \`column\` FROM information_schema.user_privileges WHERE ${IS_OWN} ` +
      'UNION SELECT privilege_type, NULL FROM information_schema.schema_privileges ' +
      `WHERE ${IS_OWN} AND ${database} LIKE table_schema ` +
      `UNION SELECT privilege_type, NULL FROM information_schema.table_privileges WHERE ${IS_OWN} AND ${sql} ` +
      `UNION SELECT privilege_type, column_name FROM information_schema.column_privileges WHERE ${IS_OWN} AND ${sql}`,
    [...ofDatabase, ...values, ...values],
  )) as Granted[];
}

/**
 * Tells a table that is not there from one that the user has no rights on, which `information_schema` hides. Where the
 * user may read it, that answers; a statement that fails, and is logged as such, is left to other users.
 */
export async function placeOf(
  runner: QueryRunner,
  tablePath: string,
): Promise<'seen' | 'hidden' | 'missing'> {
  if (await runner.hasTable(tablePath)) return 'seen';
  const privileges = await granted(runner, tablePath);
  if (privileges.some(({ privilege }) => privilege === 'SELECT')) return 'missing';
  try {
    await runner.query(`SELECT 1 FROM ${quotedPath(tablePath)} LIMIT 0`);
    return 'seen';
  } catch (error) {
    if (!(error instanceof QueryFailedError)) throw error;
    return databaseCode(error) === 'ER_NO_SUCH_TABLE' ? 'missing' : 'hidden';
  }
}

/** Fetches the rights of the user on a table, or on any of its columns. */
export async function rights(
  runner: QueryRunner,
  { tablePath }: EntityMetadata,
): Promise<ReadonlySet<Right> | undefined> {
  const place = await placeOf(runner, tablePath);
  if (place !== 'seen') return place === 'missing' ? undefined : new Set();
  const all = await granted(runner, tablePath);
  return new Set(all.flatMap(({ privilege }) => PRIVILEGES.get(privilege) ?? []));
}

export async function mayRead(
  runner: QueryRunner,
  { tablePath }: EntityMetadata,
  columns: readonly string[],
): Promise<boolean> {
  const readable = (await granted(runner, tablePath)).filter(
    ({ privilege }) => privilege === 'SELECT',
  );
  if (readable.some(({ column }) => column === null)) return true;
  return columns.every((name) => readable.some(({ column }) => column === name));
}
