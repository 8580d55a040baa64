import { TableColumn, TableIndex } from 'typeorm';
import { TableUtils } from 'typeorm/schema-builder/util/TableUtils.js';

import { encryptedTables } from '../reencryption/encrypted-table';
import type { Installation } from '../typeorm/installation/installation';

import { expandPostgresColumns } from './expand-postgres';
import { expandSqliteColumns } from './expand-sqlite';
import { ExpandedTable, liveTable } from './expanded-table';
import { planMigrations } from './migration-draft';
import type { MigrationDraft, MigrationPlan } from './migration-draft';

/** Options of {@link planExpand}. */
export interface ExpandOptions {
  /** Whether a migration of its own builds indexes while the application writes; on PostgreSQL. */
  readonly concurrently: boolean;
}

/**
 * Plans the first migration of columns that become encrypted: they get a type that holds ciphertext beside
 * the existing cleartext, lose the constraints, indexes and defaults of cleartext, and get their blind-index
 * columns. `down` restores all of it, and refuses while there is ciphertext.
 *
 * @throws {@link ConfigurationError} for a column that cannot be converted without loss
 */
export async function planExpand(
  installation: Installation,
  { concurrently }: ExpandOptions,
): Promise<MigrationPlan> {
  return planMigrations(installation.dataSource, async (runner, script) => {
    const builds: ConcurrentIndex[] = [];
    for (const table of encryptedTables(installation)) {
      const live = await liveTable(runner, table);
      // migration:generate creates a table that does not exist yet.
      if (live === undefined) continue;
      const target = new ExpandedTable(runner, table, live, script);
      await expandColumns(target);
      builds.push(...(await addIndexes(target, concurrently)));
    }
    return concurrentDraft(builds);
  });
}

async function expandColumns(target: ExpandedTable): Promise<void> {
  const isPostgres = target.runner.connection.options.type === 'postgres';
  await (isPostgres ? expandPostgresColumns : expandSqliteColumns)(target, target.presentColumns());
}

interface ConcurrentIndex {
  readonly table: string;
  readonly index: TableIndex;
}

/** Adds the missing blind indexes, and returns the database indexes that have to be built by themselves. */
async function addIndexes(
  target: ExpandedTable,
  concurrently: boolean,
): Promise<ConcurrentIndex[]> {
  const { runner, live, table } = target;
  const { driver } = runner.connection;
  const indexed = table.columns.flatMap(({ indexes }) => indexes);
  const columns = indexed
    .filter(({ column }) => live.findColumnByName(column.databaseName) === undefined)
    .map(({ column }) => new TableColumn(TableUtils.createTableColumnOptions(column, driver)));
  if (columns.length > 0) await runner.addColumns(live, columns);
  const indexes = indexed
    .map(({ databaseIndex }) => TableIndex.create(databaseIndex))
    .filter(({ name }) => !live.indices.some((existing) => existing.name === name));
  if (concurrently) return indexes.map((index) => ({ table: table.name, index }));
  if (indexes.length > 0) await runner.createIndices(live, indexes);
  return [];
}

/**
 * Returns the migration that builds indexes concurrently, outside of a transaction. It can run again: an index
 * whose build was interrupted remains, invalid.
 */
function concurrentDraft(builds: readonly ConcurrentIndex[]): MigrationDraft | undefined {
  if (builds.length === 0) return undefined;
  const drops = builds.map(({ table, index }) => {
    const schema = table.includes('.') ? `${table.split('.')[0] ?? ''}.` : '';
    return `DROP INDEX IF EXISTS ${schema}"${String(index.name)}"`;
  });
  return {
    suffix: 'Indexes',
    withoutTransaction: true,
    up: builds.flatMap(({ table, index }, i) => [
      String(drops[i]),
      `CREATE ${index.isUnique ? 'UNIQUE ' : ''}INDEX CONCURRENTLY "${String(index.name)}" ON ${table} (` +
        `${index.columnNames.map((name) => `"${name}"`).join(', ')})`,
    ]),
    // TypeORM reverts in a transaction, whatever the migration says.
    down: [...drops].reverse(),
    downGuards: [],
  };
}
