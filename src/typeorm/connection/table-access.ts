import { isDeepStrictEqual } from 'node:util';
import { QueryFailedError } from 'typeorm';
import type { DataSource, QueryRunner } from 'typeorm';

import { ConfigurationError } from '../../errors';
import { RIGHTS } from '../dialect/database-catalog';
import { dialectOf } from '../dialect/dialect-of';
import { rightRemedy } from '../dialect/right-remedy';

import { withConnection } from './lent-connection';
import { databaseFailure } from './transient-conflict';

/** Stands for the id of a scope in the parameters of an error. */
const SCOPE_LEFT_OUT = '[scope]';

/**
 * Works on the library's own tables, on the given connection or one to the primary.
 *
 * @throws {@link ConfigurationError} for a table that is missing, or that the role has no rights on
 */
export async function withOwnTables<T>(
  dataSource: DataSource,
  connection: QueryRunner | undefined,
  work: (runner: QueryRunner) => Promise<T>,
): Promise<T> {
  try {
    return await withConnection(dataSource, connection, work);
  } catch (error) {
    throw explainAccess(error);
  }
}

/**
 * Returns an error with the remedy if the role lacks rights on an own table, or the table is missing; any other as it
 * is, without its parameters.
 */
export function explainAccess(error: unknown): unknown {
  dropParameters(error);
  const failure = databaseFailure(error);
  if (failure === 'forbidden') {
    return new ConfigurationError(
      `The database role has no permission on a table of this library: ${(error as Error).message}. ` +
        rightRemedy(missingGrant(error)),
      { cause: error },
    );
  }
  if (failure !== 'missing') return error;
  const { message } = error as Error;
  return new ConfigurationError(
    `A table or column that is needed does not exist in this database: ${message}. Run the migrations ` +
      'of the DataSource, fieldEncryptionMigrations among them; or, where it is one of this library, ' +
      '`field-encryption init`.',
    { cause: error },
  );
}

/** Returns the rights that a refused statement takes, as far as the database names the table in English. */
function missingGrant(error: unknown): string | undefined {
  if (!(error instanceof QueryFailedError)) return undefined;
  const [, schema] = /\bfor schema (\S+)/.exec(error.message) ?? [];
  if (schema !== undefined) return `GRANT USAGE, CREATE ON SCHEMA ${schema} TO it`;
  const [, table] = /\btable '?([^\s']+)/.exec(error.message) ?? [];
  const rights = [...RIGHTS, 'CREATE'].filter((right) =>
    new RegExp(`\\b${right}\\b`).test(error.query),
  );
  if (table === undefined || rights.length === 0) return undefined;
  return `GRANT ${rights.join(', ')} ON ${table} TO it`;
}

/** Removes the parameters from an error of a statement: among them are ids of scopes, who may be persons. */
function dropParameters(error: unknown): void {
  changeParameters(error, () => []);
}

/** Removes ids of scopes from the parameters of an error, where the library has added them to a statement. */
export function dropAdded(error: unknown, ids: readonly unknown[]): void {
  if (ids.length === 0) return;
  const isAdded = (value: unknown): boolean => ids.some((id) => isDeepStrictEqual(id, value));
  changeParameters(error, (values) =>
    values.map((value) => (isAdded(value) ? SCOPE_LEFT_OUT : value)),
  );
}

/** Changes the parameters of an error. sqlite3, in the verbose mode of TypeORM 0.3, repeats them in the stack. */
function changeParameters(
  error: unknown,
  changed: (values: readonly unknown[]) => readonly unknown[],
): void {
  if (!(error instanceof QueryFailedError)) return;
  const { parameters } = error as QueryFailedError;
  Object.assign(error, { parameters: changed(Array.isArray(parameters) ? parameters : []) });
  const driverError = error.driverError as Error;
  driverError.stack = (driverError.stack ?? '').replace(/\n--> in [^]*/, '');
}

/**
 * Returns the tables that the database does not have.
 *
 * @throws {@link ConfigurationError} for one that the role may not read
 */
export async function missingTables(
  dataSource: DataSource,
  tablePaths: readonly string[],
): Promise<string[]> {
  return withConnection(dataSource, undefined, async (runner) => {
    const missing: string[] = [];
    for (const path of tablePaths) {
      if (!(await dialectOf(dataSource).catalog.tableExists(runner, path))) missing.push(path);
    }
    return missing;
  });
}
