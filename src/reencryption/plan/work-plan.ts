import { createHash } from 'node:crypto';
import type { EntityMetadata } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { KeyStateError, RunPlanError } from '../../errors';
import type { Installation } from '../../typeorm/installation/installation';
import { knownScopes } from '../../typeorm/installation/known-scopes';
import type { RunDatabase } from '../database/run-database';
import type { ColumnWork, WorkCell, WorkTable } from '../database/work-table';
import type { Mode } from '../modes/mode';
import type { RunOptions } from '../report/run-options';

import { chosenColumns } from './chosen-columns';
import type { Chosen } from './chosen-columns';
import { assertUnchecked } from './check-constraints';
import { assertConditions, assertParameters, pendingCondition } from './row-conditions';
import { whereOf } from './rows-of-scopes';

/** The work of a run in one table. */
export interface TableWork {
  readonly table: WorkTable;
  /** SQL condition of rows that are still to be done; `undefined` if only reading can tell. */
  readonly pending: string | undefined;
  /** Digest of what the run works on; runs with the same scope share checkpoints. */
  readonly scope: string;
  /** Digest of keys and columns; checkpoints of another structure mean nothing. */
  readonly structure: string;
}

/** Returns how many passes are over the rows of `first` alone. */
export function passesBefore({ table }: TableWork): number {
  return table.first === '' ? 0 : 1;
}

/** Returns the SQL condition of the rows in a pass; empty for all. */
export function passCondition(work: TableWork, pass: number): string {
  const conditions = [work.pending, pass < passesBefore(work) ? work.table.first : undefined];
  return conditions
    .filter((condition) => condition !== undefined)
    .map((condition) => `(${condition})`)
    .join(' AND ');
}

/**
 * Returns the SQL condition of the rows that ranges are counted in; empty for all. In the first pass
 * over everything most rows are still to be done, so all are counted, by the index of the primary key
 * alone. In later passes few are left, and a range extends over as many rows as it takes.
 */
export function rangeCondition(work: TableWork, pass: number): string {
  return pass === passesBefore(work) ? '' : passCondition(work, pass);
}

/**
 * Plans the work of a run, and refuses what cannot be done before a row is touched.
 *
 * @throws {@link RunPlanError}, {@link ConfigurationError}, {@link KeyStateError}, {@link UnsupportedQueryError}
 */
export async function planWork(
  installation: Installation,
  database: RunDatabase,
  mode: Mode,
  options: RunOptions,
): Promise<TableWork[]> {
  requireTarget(installation, options.targetKey);
  await requireReplicas(installation, database, options.maxReplicaLagMs);
  assertParameters(installation, options);
  const scopes = options.scopes && (await knownScopes(installation, options.scopes));
  const chosen = chosenColumns(installation, mode, options, scopes);
  const keyIds = (await installation.keys.list()).map(({ id }) => id);
  const works: TableWork[] = [];
  for (const { table, columns } of chosen) {
    const where = whereOf(table.metadata, columns, options, scopes);
    const work = await workTable(database, mode, { table, columns, where }, options);
    await assertConditions(installation, database, work, options);
    await assertUnchecked(installation.dataSource, work, mode);
    works.push({
      table: work,
      pending: pendingCondition(installation, database, mode, work, keyIds),
      scope: scopeOf(work),
      structure: digest([...work.keys, ...work.cells].map(({ name, type }) => [name, type])),
    });
  }
  return works;
}

/** Checkpoints of a run that is about other rows say nothing. */
function scopeOf({ columns, first, where }: WorkTable): string {
  const properties = columns.map(({ encrypted }) => encrypted.policy.property);
  return digest([properties, first, ...(where.sql === '' ? [] : [where.sql, where.values])]);
}

async function workTable(
  database: RunDatabase,
  mode: Mode,
  { table: { metadata, name }, columns, where }: Chosen & Pick<WorkTable, 'where'>,
  { first = {} }: RunOptions,
): Promise<WorkTable> {
  const types = await database.columnTypes(name);
  const cell = (column: ColumnMetadata, written: boolean): WorkCell => {
    const type = types.get(column.databaseName);
    if (type === undefined) throw schemaBehind(metadata, column, types.size > 0);
    const { driver } = metadata.connection;
    return { column, name: driver.escape(column.databaseName), type, written };
  };

  const cells: WorkCell[] = [];
  const add = (column: ColumnMetadata, written: boolean): number =>
    cells.push(cell(column, written)) - 1;
  const works = columns.map((encrypted): ColumnWork => ({
    encrypted,
    stored: add(encrypted.column, mode.writes === 'both'),
    tokens: (mode.readsTokens(encrypted) ? encrypted.indexes : []).map((indexed) => ({
      indexed,
      at: add(indexed.column, mode.writes !== 'nothing'),
    })),
    bound: (encrypted.binding?.columns ?? []).map((column) => add(column, false)),
  }));
  const keys = metadata.primaryColumns.map((column) => cell(column, false));
  return {
    ...{ metadata, name, keys, cells, columns: works },
    where,
    first: first[metadata.name] ?? '',
  };
}

function requireTarget({ keys, columns }: Installation, targetKey: string | undefined): void {
  if (targetKey === undefined) return;
  const active = columns.keyNames.map((name) => keys.activeKey(name).id);
  if (active.includes(targetKey)) return;
  throw new KeyStateError(
    `Data key ${targetKey} is not an active one, so rows cannot move to it. Active are ${active.join(', ')}.`,
    { keyId: targetKey },
  );
}

/** Refuses a limit on replica lag that cannot be measured: a run must not appear to keep it. */
async function requireReplicas(
  { dataSource: { options } }: Installation,
  database: RunDatabase,
  maxReplicaLagMs: number | undefined,
): Promise<void> {
  if (maxReplicaLagMs === undefined) return;
  if (database.replicaLagMs !== undefined) {
    await database.replicaLagMs();
    return;
  }
  throw new RunPlanError(
    'A limit on the lag of replicas (`--max-replica-lag`, option `maxReplicaLagMs`) is for PostgreSQL, which ' +
      `tells it; the database is ${options.type}. Leave it out, or wait with \`pauseWhile\` for what replicates the file.`,
  );
}

function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}

function schemaBehind(
  { name, tablePath }: EntityMetadata,
  { databaseName }: ColumnMetadata,
  hasTable: boolean,
): RunPlanError {
  return new RunPlanError(
    hasTable
      ? `Table ${tablePath} has no column ${databaseName}, which ${name} declares. Run the migrations first.`
      : `There is no table ${tablePath}, which ${name} declares. Run the migrations first.`,
    { entity: name },
  );
}
