import { TableColumn, TableIndex } from 'typeorm';
import { TableUtils } from 'typeorm/schema-builder/util/TableUtils.js';

import { encryptedTables } from '../reencryption/encrypted-table';
import { CleartextRows } from '../reencryption/foresight/cleartext-rows';
import { failureRemedies } from '../reencryption/report/failure-remedies';
import type { RowFailure } from '../reencryption/report/run-report';
import { catalogOf } from '../typeorm/dialect/dialect-of';
import type { Installation } from '../typeorm/installation/installation';

import { ExpandedTable } from './expanded-table';
import { planMigrations } from './migration-draft';
import type { MigrationDraft, MigrationPlan } from './migration-draft';
import type { IndexBuild, SchemaChanges } from './schema-changes';
import { schemaChangesOf } from './schema-changes-of';

/** Options of {@link planExpand}. */
export interface ExpandOptions {
  /** Whether a migration of its own builds indexes while the application writes, if the database can. */
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
  const targets: ExpandedTable[] = [];
  const changes = schemaChangesOf(installation.dataSource);
  const build = concurrently ? changes.buildConcurrently : undefined;
  const plan = await planMigrations(installation.dataSource, async (runner, script) => {
    const builds: IndexBuild[] = [];
    for (const table of encryptedTables(installation)) {
      const live = await catalogOf(runner).liveTable(runner, table.metadata);
      // migration:generate creates a table that does not exist yet.
      if (live === undefined) continue;
      const target = new ExpandedTable(runner, table, live, script);
      targets.push(target);
      await changes.expandColumns(target, target.presentColumns());
      builds.push(...(await addIndexes(target, changes, build)));
    }
    return concurrentDraft(builds);
  });
  if (plan.drafts.length === 0) return plan;
  // Not before, when a connection is held: the pool may have one.
  return { ...plan, notes: [...plan.notes, ...(await foreseenFailures(installation, targets))] };
}

/** Reads the cleartext, and describes the rows that `data encrypt` would leave in clear. */
async function foreseenFailures(
  installation: Installation,
  targets: readonly ExpandedTable[],
): Promise<string[]> {
  const found: RowFailure[] = [];
  let total = 0;
  for (const { table, inTransition } of targets) {
    const { count, listed } = await CleartextRows.check(installation, table, inTransition);
    total += count;
    found.push(...listed);
  }
  if (total === 0) return [];
  return [
    `data encrypt would leave rows in clear, ${String(total)} at present; data encrypt --dry-run names them again:`,
    ...found.map(describeFailure),
    ...failureRemedies(found),
  ];
}

function describeFailure(failure: RowFailure): string {
  const { entity, property, primaryKey, code, conflictsWith } = failure;
  const other = conflictsWith === undefined ? '' : ` with ${conflictsWith.map(String).join(', ')}`;
  return `  ${entity} ${primaryKey.map(String).join(', ')}: ${property}: ${code}${other}`;
}

/** Adds the missing blind indexes, and returns the database indexes that have to be built by themselves. */
async function addIndexes(
  target: ExpandedTable,
  { addIndexes: addAtOnce }: SchemaChanges,
  build: SchemaChanges['buildConcurrently'],
): Promise<IndexBuild[]> {
  const { runner, live, table } = target;
  const { driver } = runner.connection;
  const indexed = table.columns.flatMap(({ indexes }) => indexes);
  const columns = indexed
    .filter(({ column }) => live.findColumnByName(column.databaseName) === undefined)
    .map(({ column }) => new TableColumn(TableUtils.createTableColumnOptions(column, driver)));
  const indexes = indexed
    .map(({ databaseIndex }) => TableIndex.create(databaseIndex))
    .filter(({ name }) => !live.indices.some((existing) => existing.name === name));
  if (addAtOnce !== undefined) {
    await addAtOnce(target, columns, indexes);
    return [];
  }
  if (columns.length > 0) await runner.addColumns(live, columns);
  if (build !== undefined) return indexes.map((index) => build(table.name, index));
  if (indexes.length > 0) await runner.createIndices(live, indexes);
  return [];
}

/**
 * Returns the migration that builds indexes concurrently, outside of a transaction. It can run again: an index
 * whose build was interrupted remains, invalid.
 */
function concurrentDraft(builds: readonly IndexBuild[]): MigrationDraft | undefined {
  if (builds.length === 0) return undefined;
  return {
    suffix: 'Indexes',
    withoutTransaction: true,
    up: builds.flatMap(({ drop, create }) => [{ sql: drop }, { sql: create }]),
    // TypeORM reverts in a transaction, whatever the migration says.
    down: builds.map(({ drop }) => ({ sql: drop })).reverse(),
    ...{ upGuards: [], downGuards: [] },
  };
}
