import { acrossScopes } from '../../keys/scopes/scope-context';
import { channels } from '../../telemetry/channels';
import type { Installation } from '../../typeorm/installation/installation';
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

import { withApproval } from './run-approval';

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
 * Checks the options, plans the run, has it approved where that is needed, and hands both to `work`.
 *
 * @param isBegun - whether the run was begun before, and approved then if it had to be.
 * @throws {@link RunPlanError}, {@link ConfigurationError}, {@link KeyStateError}, {@link ApprovalRequiredError} before
 * a row is touched
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
  const { access, hasScopes } = installation;
  const needsNone = isBegun || options.dryRun === true;
  const approved: typeof work = needsNone
    ? work
    : (context, works) => withApproval(context, works, () => work(context, works));
  const run = (): Promise<T> => inRunContext(installation, modeName, told, approved);
  // A run is the operator's, and goes over the rows of all scopes.
  return access.run(`data ${modeName}`, () => (hasScopes ? acrossScopes(run) : run()));
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
