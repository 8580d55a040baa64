import { channels } from '../../telemetry/channels';
import type { Installation } from '../../typeorm/installation/installation';
import { DryRun } from '../foresight/dry-run';
import type { TableWork } from '../plan/work-plan';
import type { RunOptions } from '../report/run-options';
import type { RunMode, RunReport } from '../report/run-report';
import { readPages } from '../walk/read-pages';
import { countPending, withRunContext } from '../walk/run-context';
import type { RunContext } from '../walk/run-context';
import { TableRun } from '../walk/table-run';

import { makePlan } from './make-plan';

/**
 * Runs over the rows of all encrypted tables while the application goes on.
 *
 * Walks each table by primary key, a page at a time, and writes a row only if it is still as it was
 * read, so that no concurrent write is lost. Runs no entity hooks and touches no version or
 * update-date column. Every page leaves a checkpoint; any number of workers may share the rows.
 *
 * @throws {@link RunPlanError}, {@link ConfigurationError}, {@link KeyStateError} before a row is touched
 * @throws {@link RunInterruptedError} when the database fails
 */
export function run(
  installation: Installation,
  modeName: RunMode,
  options: RunOptions = {},
): Promise<RunReport> {
  const message = { source: installation.dataSource, mode: modeName };
  return channels.run.tracePromise(() => runAll(installation, modeName, options), message);
}

function runAll(
  installation: Installation,
  modeName: RunMode,
  options: RunOptions,
): Promise<RunReport> {
  return withRunContext(installation, modeName, options, async (context, works) => {
    const { mode, store, counts } = context;
    const pending = await countPending(context, works);
    const isAborted = (): boolean => options.signal?.aborted ?? false;

    if (options.dryRun === true && mode.writes !== 'nothing') {
      const isPlanned = mode.pending !== undefined;
      const plan = isPlanned
        ? await makePlan(installation, context.database, mode, works, options)
        : undefined;
      for (const work of works) await new DryRun(context, work).run();
      return counts.report(modeName, isAborted(), plan);
    }
    if (mode.writes === 'nothing') {
      for (const work of works) await readTable(context, work);
    } else {
      await store.requireTables();
      for (const [i, work] of works.entries()) {
        if (mode.pending === undefined || pending[i] !== 0) await runTable(context, work);
      }
    }
    return counts.report(modeName, isAborted());
  });
}

/** Reads every row of a table and counts what is wrong. */
async function readTable(context: RunContext, { table }: TableWork): Promise<void> {
  const { counts, options } = context;
  for await (const { worked } of readPages(context, table, '')) {
    counts.done(worked, worked.changes.rows.length);
    options.onProgress?.(counts.progress(table.metadata.name));
  }
  counts.endTable();
}

async function runTable(context: RunContext, work: TableWork): Promise<void> {
  const { counts, options } = context;
  if (options.signal?.aborted ?? false) return;
  const table = new TableRun(context, work);
  await table.run();
  if (counts.remaining !== null) counts.remaining += (await table.rowsLeft()) ?? 0;
}
