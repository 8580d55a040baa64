import type { QueryRunner } from 'typeorm';
import { ConfigurationError } from '../errors';
import { hasTable } from './live-columns';
import { databaseCode } from './transient-conflict';

/**
 * Whether a table is there. TypeORM's own look leaves out, on PostgreSQL, what the role has no rights
 * on, which would be reported as missing.
 *
 * @throws {@link ConfigurationError} for one that is there and that the role may not read
 */
export async function tableExists(runner: QueryRunner, tablePath: string): Promise<boolean> {
  if (await hasTable(runner, tablePath)) return true;
  if (runner.connection.options.type !== 'postgres') return false;
  const [table] = (await runner.query('SELECT to_regclass($1) AS oid, current_user AS role', [
    tablePath.split('.').map(quoted).join('.'),
  ])) as { oid: string | null; role: string }[];
  if (table === undefined || table.oid === null) return false;
  throw new ConfigurationError(
    `The database role "${table.role}" has no permission on table ${tablePath}, which is there. ` +
      `Grant it what docs/operations.md lists, at least: GRANT SELECT ON ${tablePath} TO "${table.role}"`,
  );
}

/** Names the remedy where the database refuses an own table for want of rights. */
export function explainPermission(error: unknown): unknown {
  if (databaseCode(error) !== '42501') return error;
  return new ConfigurationError(
    'The database role has no permission for what is to be stored with the keys; the cause names the table. ' +
      'Grant it INSERT and UPDATE on the key table, and INSERT on that of the audit log.',
    { cause: error },
  );
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
