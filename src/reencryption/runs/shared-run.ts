import { RunPlanError } from '../../errors';
import { channels } from '../../telemetry/channels';
import type { Installation } from '../../typeorm/installation/installation';
import { describeColumn } from '../../typeorm/metadata/encrypted-column';
import type { RunRow } from '../../typeorm/tables/run-tables';
import { RunStore } from '../lease/run-store';
import type { TableWork } from '../plan/work-plan';
import type { RunOptions } from '../report/run-options';
import type { RunCounts, RunMode, RunReport } from '../report/run-report';
import { requireApprovedRun } from '../walk/run-approval';
import { countPending, withRunContext } from '../walk/run-context';
import { RunRecords } from '../walk/run-records';
import { TableRun } from '../walk/table-run';

/** A run over one table under way, which any number of workers may join. */
export interface SharedRun {
  readonly id: string;
  readonly entity: string;
  /** The properties that it works on, as `Entity.property`. */
  readonly columns: readonly string[];
  /** Estimate of how many ranges there are to share. */
  readonly ranges: number;
}

/** The runs that {@link openRuns} began or found. */
export interface OpenedRuns {
  /** In the order of work; empty if there is nothing to do. */
  readonly runs: readonly SharedRun[];
  /** Rows in all tables. */
  readonly total: number;
  /** What had been done already. */
  readonly before: RunReport;
}

/**
 * Begins runs for workers to share, one for each table, without working on them.
 *
 * @throws as `run` does, before a row is touched
 */
export function openRuns(
  installation: Installation,
  modeName: RunMode,
  options: RunOptions,
): Promise<OpenedRuns> {
  return withRunContext(installation, modeName, options, async (context, works) => {
    const { mode, store, counts } = context;
    await store.requireTables();
    const pending = await countPending(context, works);
    const runs: SharedRun[] = [];
    for (const [i, work] of works.entries()) {
      if (mode.pending !== undefined && pending[i] === 0) continue;
      const table = new TableRun(context, work);
      const { id } = await table.open();
      const columns = work.table.columns.map(({ encrypted }) => describeColumn(encrypted));
      const ranges = await table.countRanges();
      runs.push({ id, entity: work.table.metadata.name, columns, ranges });
    }
    return { runs, total: counts.total, before: counts.report(modeName, false) };
  });
}

/**
 * Works in a run that is under way, and never begins one again that has ended.
 *
 * @param options - those that the run was begun with, or the same `columns`.
 * @param counts - the counts of this worker, perhaps from earlier ranges of the same run.
 * @param maxRanges - the most ranges to take. Defaults to all that it can get.
 * @returns whether the run is over.
 * @throws {@link RunPlanError} for a run that does not exist, or has other columns, another `where` or another `first`
 */
export function joinRun(
  installation: Installation,
  modeName: RunMode,
  options: RunOptions,
  id: string,
  counts: RunCounts,
  maxRanges?: number,
): Promise<boolean> {
  const message = { source: installation.dataSource, mode: modeName };
  return channels.run.tracePromise(
    () => workInRun(installation, modeName, options, { id, counts, maxRanges }),
    message,
  );
}

function workInRun(
  installation: Installation,
  modeName: RunMode,
  options: RunOptions,
  {
    id,
    counts,
    maxRanges,
  }: { readonly id: string; readonly counts: RunCounts; readonly maxRanges: number | undefined },
): Promise<boolean> {
  return withRunContext(
    installation,
    modeName,
    options,
    async (context, works) => {
      const { store } = context;
      const found = await store.find(id);
      if (found === undefined) throw unknownRun(modeName, id);
      const work = works.find((each) => isOf(each, found, modeName));
      if (work === undefined) throw otherRun(found);
      if (found.state === 'done') {
        counts.beginPass(found.pass);
        return true;
      }
      await requireApprovedRun(context, id, work);
      await new TableRun({ ...context, counts }, work).join(found, maxRanges);
      return (await store.pass(found)) === undefined;
    },
    true,
  );
}

/** Records in the audit log which of these runs are left before their end. */
export async function leaveRuns(installation: Installation, ids: readonly string[]): Promise<void> {
  const records = new RunRecords(installation, new RunStore(installation.dataSource));
  for (const id of ids) await records.left({ id });
}

/** Counts, in SQL, the rows that are not done; `null` if only reading can tell. */
export function remainingRows(
  installation: Installation,
  modeName: RunMode,
  options: RunOptions,
): Promise<number | null> {
  return withRunContext(
    installation,
    modeName,
    options,
    async (context, works) => {
      if (context.mode.pending === undefined) return null;
      const pending = await countPending(context, works);
      return pending.reduce((sum, rows) => sum + rows, 0);
    },
    true,
  );
}

function isOf({ table, scope, structure }: TableWork, run: RunRow, mode: RunMode): boolean {
  return (
    run.mode === mode &&
    run.tablePath === table.metadata.tablePath &&
    run.scope === scope &&
    run.structure === structure
  );
}

function unknownRun(mode: RunMode, id: string): RunPlanError {
  return new RunPlanError(
    `There is no ${mode} ${id} in this database: it was begun in another one, or its row was deleted. ` +
      'Begin it again where its rows are.',
  );
}

function otherRun({ mode, tablePath }: RunRow): RunPlanError {
  return new RunPlanError(
    `The ${mode} of ${tablePath} that is under way is of other columns, of other rows, of other rows first or of another structure. ` +
      'Give all of its workers the same build of the application and the same `--where`, `--param` and `--first` ' +
      '(options `where`, `parameters`, `first`).',
  );
}
