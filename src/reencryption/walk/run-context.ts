import { acrossScopes } from '../../keys/scopes/scope-context';
import { channels } from '../../telemetry/channels';
import type { Subject } from '../../approvals/approval-request';
import type { Installation } from '../../typeorm/installation/installation';
import { managedWork } from '../../typeorm/installation/managed-work';
import { runDatabaseOf } from '../database/database-of';
import { runInterrupted } from '../database/run-database';
import type { RunDatabase } from '../database/run-database';
import { RangeStore } from '../lease/range-store';
import { RunStore } from '../lease/run-store';
import type { Mode } from '../modes/mode';
import { modeOf } from '../modes/modes';
import { erasedConditions } from '../plan/row-conditions';
import { planWork } from '../plan/work-plan';
import type { TableWork } from '../plan/work-plan';
import { checkOptions } from '../report/run-options';
import type { RunOptions } from '../report/run-options';
import { RunCounts } from '../report/run-report';
import type { RunMode } from '../report/run-report';

/** The context that all tables of a run share. */
export interface RunContext {
  readonly installation: Installation;
  readonly database: RunDatabase;
  readonly store: RunStore;
  readonly ranges: RangeStore;
  readonly mode: Mode;
  readonly options: RunOptions;
  readonly counts: RunCounts;
}

/**
 * Checks the options, plans the run and hands both to `work`.
 *
 * @param isBegun - whether the run was begun before, and approved then if it had to be.
 * @throws {@link RunPlanError}, {@link ConfigurationError}, {@link KeyStateError} before a row is touched
 * @throws {@link RunInterruptedError} when the database fails
 */
export function withRunContext<T>(
  installation: Installation,
  modeName: RunMode,
  options: RunOptions,
  work: (context: RunContext, works: readonly TableWork[]) => Promise<T>,
  isBegun = false,
): Promise<T> {
  const told = { ...options, onProgress: progressOf(installation, modeName, options) };
  const run = (): Promise<T> => inRunContext(installation, modeName, told, work);
  // A run is the operator's, and goes over the rows of all scopes.
  const across = (): Promise<T> => (installation.hasScopes ? acrossScopes(run) : run());
  return isBegun || options.dryRun === true
    ? installation.access.run(`data ${modeName}`, across)
    : managedWork(installation, `data ${modeName}`, () => subjectOf(installation, options), across);
}

/** Returns what is approved of a run. */
function subjectOf({ dataSource }: Installation, options: RunOptions): Subject {
  const { columns, first, where, parameters, targetKey, restart } = options;
  const entities = options.entities?.map((entity) => dataSource.getMetadata(entity).name);
  const scopes = options.scopes?.map((ids) =>
    typeof ids === 'object' ? Object.fromEntries(Object.entries(ids).map(textOf)) : String(ids),
  );
  const rows = { entities, columns, first, where, parameters, scopes };
  return { parameters: { ...rows, targetKey, restart: restart === true } };
}

function textOf([kind, id]: [string, unknown]): [string, string] {
  return [kind, String(id)];
}

/** Returns who is told of progress: the caller, and the channel. */
function progressOf(
  { dataSource: source }: Installation,
  mode: RunMode,
  { onProgress }: RunOptions,
): NonNullable<RunOptions['onProgress']> {
  return (progress) => {
    onProgress?.(progress);
    const { entity, scanned, total } = progress;
    if (channels.runProgress.hasSubscribers) {
      channels.runProgress.publish({ source, mode, entity, scanned, total });
    }
  };
}

async function inRunContext<T>(
  installation: Installation,
  modeName: RunMode,
  options: RunOptions,
  work: (context: RunContext, works: readonly TableWork[]) => Promise<T>,
): Promise<T> {
  checkOptions(options);
  const database = runDatabaseOf(installation.dataSource);
  const store = new RunStore(installation.dataSource);
  const ranges = new RangeStore(installation.dataSource, database, store);
  try {
    await installation.confirmAll();
    // Tokens of a root that another process may still write with would have to be made again.
    if (modeName === 'reindex' && options.dryRun !== true) {
      await installation.keys.operations.requireSettledIndex();
    }
    const mode = modeOf(modeName, installation);
    const works = await planWork(installation, database, mode, options);
    const counts = new RunCounts();
    return await work({ installation, database, store, ranges, mode, options, counts }, works);
  } catch (error) {
    throw runInterrupted(error);
  } finally {
    ranges.close();
  }
}

/** Counts the rows of each table that are still to be done, and those of scopes that are erased, or to be erased. */
export async function countPending(
  { database, counts, installation, mode }: RunContext,
  works: readonly TableWork[],
): Promise<number[]> {
  const pendings: number[] = [];
  for (const { table, pending } of works) {
    const [rows, left] = await database.count(table, pending ?? 'TRUE');
    counts.total += rows;
    const { erased, toBeErased } = erasedConditions(installation, table) ?? {};
    if (erased !== undefined) counts.erased += (await database.count(table, erased))[1];
    if (toBeErased !== undefined && mode.pending === 'underOtherKey') {
      counts.toBeErased += (await database.count(table, toBeErased))[1];
    }
    if (mode.pending !== undefined) counts.foundDone(rows - left);
    pendings.push(left);
  }
  counts.most = counts.total;
  if (mode.pending === undefined) counts.remaining = null;
  return pendings;
}
