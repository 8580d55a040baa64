import type { DataSource, QueryRunner } from 'typeorm';

import { ConfigurationError } from '../../errors';

import type { DatabaseCatalog } from './database-catalog';
import type { Dialect } from './dialect';
import type { DriverError, Failure } from './failure';
import { mysql } from './mysql/mysql';
import { postgres } from './postgres/postgres';
import { sqlite } from './sqlite/sqlite';

/** A driver of TypeORM. */
interface Driver {
  readonly dialect: Dialect;
  /** The package that it loads. */
  readonly npmPackage: string;
}

/** The drivers whose SQL and column types are tested, by the type in the options of a DataSource. */
const DRIVERS: ReadonlyMap<string, Driver> = new Map([
  ['better-sqlite3', { dialect: sqlite, npmPackage: 'better-sqlite3' }],
  ['sqlite', { dialect: sqlite, npmPackage: 'sqlite3' }],
  ['postgres', { dialect: postgres, npmPackage: 'pg' }],
  ['mysql', { dialect: mysql, npmPackage: 'mysql2' }],
  ['mariadb', { dialect: mysql, npmPackage: 'mysql2' }],
]);

type OfType = Pick<DataSource, 'options'>;

/**
 * Returns the dialect of a DataSource's database.
 *
 * @throws {@link ConfigurationError} for a driver that is not supported
 */
export function dialectOf(dataSource: OfType): Dialect {
  return driverOf(dataSource).dialect;
}

/** Returns what the database of a connection tells about itself. */
export function catalogOf({ connection }: Pick<QueryRunner, 'connection'>): DatabaseCatalog {
  return dialectOf(connection).catalog;
}

/** Returns the name of the package that the driver of a DataSource loads. */
export function driverPackage(dataSource: OfType): string {
  return driverOf(dataSource).npmPackage;
}

/** All dialects. */
export const DIALECTS: ReadonlySet<Dialect> = new Set(
  [...DRIVERS.values()].map(({ dialect }) => dialect),
);

/** Returns the failure that an error is of, whichever database it is from. */
export function failureOf(error: DriverError): Failure | undefined {
  for (const dialect of DIALECTS) {
    const failure = dialect.failure(error);
    if (failure !== undefined) return failure;
  }
  return undefined;
}

function driverOf({ options: { type } }: OfType): Driver {
  const driver = DRIVERS.get(type);
  if (driver !== undefined) return driver;
  throw new ConfigurationError(
    `Field encryption does not support the database type "${type}". Supported are ${[...DRIVERS.keys()].join(', ')}.`,
  );
}
