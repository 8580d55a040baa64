import { QueryFailedError } from 'typeorm';
import type { EntityMetadata, QueryRunner } from 'typeorm';

import { ConfigurationError } from '../../errors';
import { databaseCode } from '../connection/transient-conflict';
import { catalogOf } from '../dialect/dialect-of';

/** Makes PostgreSQL refuse, until the transaction ends, statements from which a policy would hide rows. */
const HIDE_NOTHING = 'SET LOCAL row_security = off';
const SAVEPOINT = 'field_encryption_all_rows';

/** The part of a client of `pg` that is used. */
interface Client {
  query(sql: string): Promise<readonly { readonly command: string; readonly rows: unknown[] }[]>;
}

/**
 * Reads a table by a SELECT without parameters, and fails rather than leave out rows that a policy hides
 * from the role. Safe on a shared connection: one message makes the setting, reads, and undoes the setting,
 * so that no other statement runs under it.
 *
 * @throws {@link ConfigurationError} if rows would be left out
 */
export async function selectAllRows<T>(
  runner: QueryRunner,
  metadata: EntityMetadata,
  sql: string,
): Promise<T[]> {
  if (runner.connection.options.type !== 'postgres') return (await runner.query(sql)) as T[];
  const client = (await runner.connect()) as Client;
  const undo = `ROLLBACK TO SAVEPOINT ${SAVEPOINT}; RELEASE SAVEPOINT ${SAVEPOINT}`;
  const isWithin = runner.isTransactionActive;
  const message = isWithin
    ? `SAVEPOINT ${SAVEPOINT}; ${HIDE_NOTHING}; ${sql}; ${undo}`
    : `${HIDE_NOTHING}; ${sql}; SET LOCAL row_security TO DEFAULT`;
  try {
    const results = await client.query(message);
    return (results.find(({ command }) => command === 'SELECT')?.rows ?? []) as T[];
  } catch (error) {
    if (isWithin) await client.query(undo).catch(() => undefined);
    throw explainHiddenRows(new QueryFailedError(sql, undefined, error as Error), metadata);
  }
}

/**
 * Works on all rows of a table as {@link selectAllRows} does, on a connection that nobody else uses. If it
 * is in a transaction, that stays under the setting.
 *
 * @param send - runs SQL on the connection.
 * @throws {@link ConfigurationError} if rows would be left out
 */
export async function onAllRows<T>(
  send: (sql: string) => Promise<unknown>,
  metadata: EntityMetadata,
  { isInTransaction }: { readonly isInTransaction: boolean },
  work: () => Promise<T>,
): Promise<T> {
  try {
    await send(isInTransaction ? HIDE_NOTHING : `BEGIN; ${HIDE_NOTHING}`);
    const done = await work();
    if (!isInTransaction) await send('COMMIT');
    return done;
  } catch (error) {
    if (!isInTransaction) await send('ROLLBACK').catch(() => undefined);
    throw explainHiddenRows(error, metadata);
  }
}

/**
 * Refuses a view, or anything else that may hide rows, in the place of a table.
 *
 * @throws {@link ConfigurationError}
 */
export async function requireTable(runner: QueryRunner, metadata: EntityMetadata): Promise<void> {
  const { name, tablePath, tableType } = metadata;
  if (tableType === 'view' || (await catalogOf(runner).isTable(runner, metadata))) return;
  throw new ConfigurationError(
    `${name}: ${tablePath} is no table in this database but a view, or something else that may hide rows: what rows ` +
      'that it does not show need would be taken for unneeded. Find out who put it there, and put the table back.',
    { entity: name },
  );
}

/** The function of PostgreSQL that refuses. Its message is in the language of the server. */
const REFUSED_BY = 'check_enable_rls';

function explainHiddenRows(error: unknown, { name, tablePath }: EntityMetadata): unknown {
  const failure: unknown = error instanceof QueryFailedError ? error.driverError : error;
  const { routine } = (failure ?? {}) as { routine?: unknown };
  if (databaseCode(error) !== '42501' || routine !== REFUSED_BY) return error;
  return new ConfigurationError(
    `${name}: row-level security would hide rows of ${tablePath} from this database role, and this takes ` +
      'all of them: what rows that it does not see need would be taken for unneeded. Use a role with BYPASSRLS, ' +
      'or the owner of the table where there is no FORCE ROW LEVEL SECURITY.',
    { entity: name, cause: error },
  );
}
