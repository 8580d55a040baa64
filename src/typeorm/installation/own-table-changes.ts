import { Table } from 'typeorm';
import type { DataSource, EntityMetadata, QueryRunner } from 'typeorm';

import { withConnection } from '../connection/lent-connection';
import { dialectOf } from '../dialect/dialect-of';
import { escapedTable } from '../dialect/escaped-table';

/** A change of the schema, and the statement that reverts it. */
interface SchemaChange {
  readonly up: string;
  readonly down: string;
}

/** Returns what the database lacks of own tables, where these are left to the dialect. */
export async function ownTableChanges(
  dataSource: DataSource,
  tables: readonly EntityMetadata[],
): Promise<SchemaChange[]> {
  if (dialectOf(dataSource).ownTables === undefined) return [];
  return withConnection(dataSource, undefined, async (runner) => {
    const changes: SchemaChange[] = [];
    for (const table of tables) changes.push(...(await changesOf(dataSource, runner, table)));
    return changes;
  });
}

async function changesOf(
  dataSource: DataSource,
  runner: QueryRunner,
  metadata: EntityMetadata,
): Promise<SchemaChange[]> {
  const { catalog, ownTables } = dialectOf(dataSource);
  if (ownTables === undefined) return [];
  const { driver } = dataSource;
  const wanted = Table.create(metadata, driver);
  const name = escapedTable(dataSource, metadata);
  if (!(await catalog.tableExists(runner, metadata.tablePath))) {
    return [{ up: ownTables.create(wanted), down: `DROP TABLE ${name}` }];
  }
  const present = (await catalog.columns(runner, metadata)).map((column) => column.name);
  const added = wanted.columns.filter((column) => !present.includes(column.name));
  return added.map((column) => ({
    up: ownTables.addColumn(metadata.tablePath, column),
    down: `ALTER TABLE ${name} DROP COLUMN ${driver.escape(column.name)}`,
  }));
}
