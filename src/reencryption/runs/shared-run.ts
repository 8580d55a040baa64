import { RunPlanError } from '../../errors';
import { describeColumn } from '../../typeorm/metadata/encrypted-column';
import type { Installation } from '../../typeorm/installation/installation';
import type { RunRow } from '../../typeorm/tables/run-tables';
import { countRows, inRun } from './in-run';
import type { RunMode, RunCounts, RunReport } from '../report/run-report';
import type { RunOptions } from '../report/run-options';
import { TableRun } from '../walk/table-run';
import type { TableWork } from '../plan/work-plan';

/** A run over one table that is under way, for any number of workers to join. */
export interface SharedRun {
  readonly id: string;
  readonly entity: string;
  /** `Entity.property` of everything that it works on. */
  readonly columns: readonly string[];
  /** About how many ranges there are to share out. */
  readonly ranges: number;
}

/** What {@link openRuns} began or found. */
export interface OpenedRuns {
  /** In the order of work; none where nothing is to be done. */
  readonly runs: readonly SharedRun[];
  /** Rows in all tables. */
  readonly total: number;
  /** What was done already. */
  readonly before: RunReport;
}

/**
 * Begins runs that are to be shared, one for each table, and works on nothing yet.
 *
 * @throws as `run`, before a row is touched
 */
export function openRuns(
  installation: Installation,
  modeName: RunMode,
  options: RunOptions,
): Promise<OpenedRuns> {
  return inRun(installation, modeName, options, async (context, works) => {
    const { mode, store, counts } = context;
    await store.requireTables();
    const pending = await countRows(context, works);
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
 * Works in a run that is under way, and in no other: one that has ended is not begun again.
 *
 * @param options - as the run was begun with, or the same `columns`.
 * @param counts - where this worker counts; may be those of earlier ranges of the same run.
 * @param maxRanges - ranges that it takes at most. Defaults to all that it can get.
 * @returns whether the run is over.
 * @throws {@link RunPlanError} for a run that is not here, or one of other columns or rows first
 */
export function joinRun(
  installation: Installation,
  modeName: RunMode,
  options: RunOptions,
  id: string,
  counts: RunCounts,
  maxRanges?: number,
): Promise<boolean> {
  return inRun(installation, modeName, options, async (context, works) => {
    const { store } = context;
    const found = await store.find(id);
    if (found === undefined) throw unknownRun(modeName, id);
    const work = works.find((each) => isOf(each, found, modeName));
    if (work === undefined) throw otherRun(found);
    await new TableRun({ ...context, counts }, work).join(found, maxRanges);
    return (await store.pass(found)) === undefined;
  });
}

/** Rows that a count in SQL finds not done; `null` where only reading can tell. */
export function remainingRows(
  installation: Installation,
  modeName: RunMode,
  options: RunOptions,
): Promise<number | null> {
  return inRun(installation, modeName, options, async (context, works) => {
    if (context.mode.pending === undefined) return null;
    const pending = await countRows(context, works);
    return pending.reduce((sum, rows) => sum + rows, 0);
  });
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
    `The ${mode} of ${tablePath} that is under way is of other columns, of other rows first or of another structure. ` +
      'Give all of its workers the same build of the application and the same `--first` (option `first`).',
  );
}
