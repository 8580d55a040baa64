import type { DataSource, QueryRunner } from 'typeorm';

/** Runs `work` on a connection, the given one or one to the primary. */
export async function withConnection<T>(
  dataSource: DataSource,
  connection: QueryRunner | undefined,
  work: (runner: QueryRunner) => Promise<T>,
): Promise<T> {
  if (connection !== undefined) return work(connection);
  const runner = dataSource.createQueryRunner('master');
  try {
    return await work(runner);
  } finally {
    await runner.release();
  }
}

/** Query runners that one statement has made for itself. */
const lent = new WeakSet<QueryRunner>();

/** The fields of TypeORM's query runner for PostgreSQL that say whether it has a connection. */
interface Connected {
  isReleased: boolean;
  databaseConnection?: unknown;
  databaseConnectionPromise?: unknown;
}

/** Notes that a query runner is the statement's own: its connection may go back while the statement waits. */
export function lend(runner: QueryRunner): QueryRunner {
  lent.add(runner);
  return runner;
}

/** Notes that others use the query runner as well. */
export function share(runner: QueryRunner): void {
  lent.delete(runner);
}

/**
 * Gives the connection of a statement's own query runner back to the pool, from where its next
 * statement takes one again. Done when it returns: nobody else comes between.
 *
 * @returns whether the caller holds no connection now. One in a transaction keeps it.
 */
export function giveBack(runner: QueryRunner | undefined): boolean {
  if (runner === undefined) return true;
  if (!lent.has(runner) || runner.isTransactionActive) return false;
  if (runner.connection.options.type !== 'postgres') return true;
  void runner.release();
  const connected: Partial<Connected> = {
    isReleased: false,
    databaseConnection: undefined,
    databaseConnectionPromise: undefined,
  };
  Object.assign(runner, connected);
  return true;
}
