import type { DataSource } from 'typeorm';

import type { DialectName } from '../typeorm/dialect/dialect';
import { dialectOf } from '../typeorm/dialect/dialect-of';

import { mysqlSchema } from './mysql/mysql-schema';
import { postgresSchema } from './postgres/postgres-schema';
import type { SchemaChanges } from './schema-changes';
import { sqliteSchema } from './sqlite/sqlite-schema';

const CHANGES: Readonly<Record<DialectName, SchemaChanges>> = {
  mysql: mysqlSchema,
  postgres: postgresSchema,
  sqlite: sqliteSchema,
};

/** Returns the port of migrations to the database of a DataSource. */
export function schemaChangesOf(dataSource: DataSource): SchemaChanges {
  return CHANGES[dialectOf(dataSource).name];
}
