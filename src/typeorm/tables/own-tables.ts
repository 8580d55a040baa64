import type { DataSource, EntitySchema } from 'typeorm';
import { AUDIT_TABLE_MIGRATION, AuditSchema } from './typeorm-audit-store';
import { DataKeySchema, KEY_TABLE_MIGRATION } from './data-key-table';
import { missingTables } from '../connection/table-access';
import { RangeSchema, RUN_TABLES_MIGRATION, RunSchema } from './run-tables';

/** The tables of the library itself, and the migrations that create them. */
export const OWN_TABLES: readonly { readonly schema: EntitySchema; readonly migration: string }[] =
  [
    { schema: DataKeySchema, migration: KEY_TABLE_MIGRATION },
    { schema: RunSchema, migration: RUN_TABLES_MIGRATION },
    { schema: RangeSchema, migration: RUN_TABLES_MIGRATION },
    { schema: AuditSchema, migration: AUDIT_TABLE_MIGRATION },
  ];

/**
 * Takes back what a naming strategy made of their columns: migrations, and the conditions of the
 * indexes, call them by the names that are written down here.
 */
export function keepOwnColumnNames(dataSource: DataSource): void {
  for (const { schema } of OWN_TABLES) {
    for (const column of dataSource.getMetadata(schema).columns) {
      const name = column.givenDatabaseName ?? column.propertyName;
      column.databaseName = name;
      column.databasePath = name;
      column.databaseNameWithoutPrefixes = name;
    }
  }
}

/**
 * Where the DataSource runs the migration of a table, `migration:generate` must not write another
 * one that creates it.
 */
export function leaveToMigrations(dataSource: DataSource): void {
  for (const { schema, migration } of OWN_TABLES) {
    const listed = dataSource.migrations.some(({ name }) => name === migration);
    dataSource.getMetadata(schema).synchronize = !listed;
  }
}

/** `synchronize()` has to create them nevertheless. */
export function leaveToSynchronize(dataSource: DataSource): void {
  for (const { schema } of OWN_TABLES) dataSource.getMetadata(schema).synchronize = true;
}

/** Which of them the database does not have yet. */
export function missingOwnTables(dataSource: DataSource): Promise<string[]> {
  return missingTables(
    dataSource,
    OWN_TABLES.map(({ schema }) => dataSource.getMetadata(schema).tablePath),
  );
}
