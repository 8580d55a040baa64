import type { DataSource, EntitySchema } from 'typeorm';

import { missingTables } from '../connection/table-access';

import { ACCESS_TABLE_MIGRATION, AccessSchema } from './access-table';
import { DataKeySchema, KEY_TABLE_MIGRATION } from './data-key-table';
import { RangeSchema, RUN_TABLES_MIGRATION, RunSchema } from './run-tables';
import { SCOPE_KEYS_MIGRATION, ScopeKeySchema } from './scope-key-table';
import { ApprovalSchema, APPROVALS_MIGRATION } from './typeorm-approval-store';
import { AUDIT_TABLE_MIGRATION, AuditSchema } from './typeorm-audit-store';
import { SIGNING_KEYS_MIGRATION, SigningKeySchema } from './typeorm-signing-key-store';

/** The library's own tables, and the migrations that create them. */
export const OWN_TABLES: readonly { readonly schema: EntitySchema; readonly migration: string }[] =
  [
    { schema: DataKeySchema, migration: KEY_TABLE_MIGRATION },
    { schema: RunSchema, migration: RUN_TABLES_MIGRATION },
    { schema: RangeSchema, migration: RUN_TABLES_MIGRATION },
    { schema: AuditSchema, migration: AUDIT_TABLE_MIGRATION },
    { schema: ScopeKeySchema, migration: SCOPE_KEYS_MIGRATION },
    { schema: AccessSchema, migration: ACCESS_TABLE_MIGRATION },
    { schema: ApprovalSchema, migration: APPROVALS_MIGRATION },
    { schema: SigningKeySchema, migration: SIGNING_KEYS_MIGRATION },
  ];

/**
 * Undoes a naming strategy for the columns of these tables: migrations, and the conditions of the indexes,
 * use the names that their schemas give.
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

/** Keeps `migration:generate` from creating a table whose migration the DataSource already has. */
export function leaveToMigrations(dataSource: DataSource): void {
  for (const { schema, migration } of OWN_TABLES) {
    const listed = dataSource.migrations.some(({ name }) => name === migration);
    dataSource.getMetadata(schema).synchronize = !listed;
  }
}

/** Lets `synchronize()` create all of these tables. */
export function leaveToSynchronize(dataSource: DataSource): void {
  for (const { schema } of OWN_TABLES) dataSource.getMetadata(schema).synchronize = true;
}

/** Returns those of these tables that the database does not have yet. */
export function missingOwnTables(dataSource: DataSource): Promise<string[]> {
  return missingTables(
    dataSource,
    OWN_TABLES.map(({ schema }) => dataSource.getMetadata(schema).tablePath),
  );
}
