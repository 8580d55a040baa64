import { QueryFailedError } from 'typeorm';
import { RunInterruptedError } from '../errors';
import type { Installation } from '../typeorm/installation';
import { databaseCode } from '../typeorm/transient-conflict';
import { DatabaseError } from './database/connection';
import { runDatabaseOf } from './database/run-database-of';
import { modeOf } from './mode';
import { ReadOnlyRun } from './read-only-run';
import { checkOptions } from './run-options';
import type { RunOptions } from './run-options';
import { planOf } from './make-plan';
import { RunCounts } from './run-report';
import type { RunMode } from './run-mode';
import type { RunReport } from './run-report';
import { RunStore } from './run-store';
import { TableRun } from './table-run';
import type { RunContext } from './table-run';
import { workOf } from './work-plan';
import type { TableWork } from './work-plan';

/**
 * Takes the rows of all encrypted tables through a run, while the application goes on.
 *
 * Walks each table by primary key, one page a statement, each row only if it is as it was read, so
 * that no concurrent write is lost. Runs no entity hooks and touches no version or update-date
 * column. Every page leaves a checkpoint; any number of workers may share the rows.
 *
 * @throws {@link RunPlanError}, {@link ConfigurationError}, {@link KeyStateError} before a row is touched
 * @throws {@link RunInterruptedError} when the database fails
 */
export async function run(
  installation: Installation,
  modeName: RunMode,
  options: RunOptions = {},
): Promise<RunReport> {
  checkOptions(options);
  await installation.confirmAll();
  const mode = modeOf(modeName, installation);
  const database = runDatabaseOf(installation.dataSource);
  const works = await workOf(installation, database, mode, options);
  const store = new RunStore(installation.dataSource, database);
  const counts = new RunCounts();
  const context: RunContext = { installation, database, store, mode, options, counts };
  const pending = await countRows(context, works);

  if (options.dryRun === true && mode.pending !== undefined) {
    counts.scanned = counts.total;
    counts.changed = pending.reduce((sum, rows) => sum + rows, 0);
    return counts.report(modeName, false, await planOf(installation, database, mode, works));
  }
  if (options.dryRun === true || mode.writes === 'nothing') {
    for (const work of works) await guarded(work, () => new ReadOnlyRun(context, work).run());
  } else {
    await store.requireTables();
    for (const [i, work] of works.entries()) {
      if (mode.pending === undefined || pending[i] !== 0) {
        await guarded(work, () => tableRun(context, work));
      }
    }
  }
  return counts.report(modeName, options.signal?.aborted ?? false);
}

/** Rows that are still to be done, for each table. */
async function countRows(
  { database, counts, mode }: RunContext,
  works: readonly TableWork[],
): Promise<number[]> {
  const pendings: number[] = [];
  for (const { table, pending } of works) {
    const [rows, left] = await database.count(table, pending ?? 'TRUE');
    counts.total += rows;
    if (mode.pending !== undefined) counts.read(rows - left, rows - left);
    pendings.push(left);
  }
  if (mode.pending === undefined) counts.remaining = null;
  return pendings;
}

async function tableRun(context: RunContext, work: TableWork): Promise<void> {
  const { counts, options } = context;
  if (options.signal?.aborted ?? false) return;
  const table = new TableRun(context, work);
  await table.run();
  if (counts.remaining !== null) counts.remaining += (await table.rowsLeft()) ?? 0;
}

/** What the database throws is told apart from what is wrong with keys or rows. */
async function guarded({ table }: TableWork, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof DatabaseError) && !(error instanceof QueryFailedError)) throw error;
    const { name } = table.metadata;
    const code = databaseCode(error);
    throw new RunInterruptedError(
      `The database failed in a run over ${name}${code === '' ? '' : ` (${code})`}: ${error.message}. ` +
        'The page under way was rolled back and what came before it is done. Run again to go on from there.',
      { entity: name, cause: error instanceof DatabaseError ? error : withoutParameters(error) },
    );
  }
}

function withoutParameters(error: Error): DatabaseError {
  return new DatabaseError(error.message, databaseCode(error));
}
