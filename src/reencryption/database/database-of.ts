import type { DataSource } from 'typeorm';

import type { DialectName } from '../../typeorm/dialect/dialect';
import { dialectOf } from '../../typeorm/dialect/dialect-of';

import { MysqlRunDatabase } from './mysql/run-database';
import { PostgresRunDatabase } from './postgres/run-database';
import type { RunDatabase } from './run-database';
import { SqliteRunDatabase } from './sqlite/run-database';

type RunDatabaseClass = new (dataSource: DataSource) => RunDatabase;

const RUN_DATABASES: Readonly<Record<DialectName, RunDatabaseClass>> = {
  mysql: MysqlRunDatabase,
  postgres: PostgresRunDatabase,
  sqlite: SqliteRunDatabase,
};

/** Returns the port of runs to the database of a DataSource. */
export function runDatabaseOf(dataSource: DataSource): RunDatabase {
  return new RUN_DATABASES[dialectOf(dataSource).name](dataSource);
}
