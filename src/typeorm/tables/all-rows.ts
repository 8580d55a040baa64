import type { EntityMetadata, QueryRunner } from 'typeorm';

import { ConfigurationError } from '../../errors';
import { catalogOf, dialectOf } from '../dialect/dialect-of';

/**
 * Reads a table by a SELECT without parameters, and fails rather than leave out rows that a policy hides
 * from the role. Safe on a shared connection.
 *
 * @throws {@link ConfigurationError} if rows would be left out
 */
export async function selectAllRows<T>(
  runner: QueryRunner,
  metadata: EntityMetadata,
  sql: string,
): Promise<T[]> {
  const { rowSecurity } = dialectOf(runner.connection).transactions;
  const rows = rowSecurity?.select(runner, metadata, sql) ?? runner.query(sql);
  return (await rows) as T[];
}

/**
 * Works on all rows of a table as {@link selectAllRows} does, on a connection that nobody else uses.
 *
 * @throws {@link ConfigurationError} if rows would be left out
 */
export async function onAllRows<T>(
  runner: QueryRunner,
  metadata: EntityMetadata,
  work: () => Promise<T>,
): Promise<T> {
  const { rowSecurity } = dialectOf(runner.connection).transactions;
  if (rowSecurity === undefined) return work();
  const send = (sql: string): Promise<unknown> => runner.query(sql);
  return rowSecurity.onAllRows(send, metadata, { isActive: runner.isTransactionActive }, work);
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
