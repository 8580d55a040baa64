import type { DataSource } from 'typeorm';

import { PostgresRunDatabase } from './postgres';
import type { RunDatabase } from './run-database';
import { SqliteRunDatabase } from './sqlite';

/** Returns the port of runs to the database of a DataSource. */
export function runDatabaseOf(dataSource: DataSource): RunDatabase {
  return dataSource.options.type === 'postgres'
    ? new PostgresRunDatabase(dataSource)
    : new SqliteRunDatabase(dataSource);
}
