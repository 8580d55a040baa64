import { availableParallelism } from 'node:os';
import { QueryFailedError } from 'typeorm';
import { RunInterruptedError } from '../errors';
import type { Installation } from '../typeorm/installation';
import { databaseCode } from '../typeorm/transient-conflict';
import { DatabaseError } from './database/connection';
import { runDatabaseOf } from './database/run-database-of';
import type { Mode } from './modes/mode';
import { modeOf } from './modes/mode-of';
import { CryptoThreads } from './threads/crypto-threads';
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
  const threads = threadsFor(installation, options);
  try {
    return await runWith(installation, modeOf(modeName, installation, threads), options, threads);
  } catch (error) {
    throw interrupted(error);
  } finally {
    await threads.close();
  }
}

async function runWith(
  installation: Installation,
  mode: Mode,
  options: RunOptions,
  threads: CryptoThreads,
): Promise<RunReport> {
  await installation.confirmAll();
  const writes = mode.writes !== 'nothing' && options.dryRun !== true;
  // Tokens of a root that another process may still write with would have to be made again.
  if (writes && mode.name === 'reindex') await installation.keys.operations.requireSettledIndex();
  const database = runDatabaseOf(installation.dataSource);
  const works = await workOf(installation, database, mode, options);
  const store = new RunStore(installation.dataSource, database);
  const counts = new RunCounts();
  const pagesAhead = 2 + (mode.name === 'reencrypt' ? threads.count : 0);
  const context = { installation, database, store, mode, options, counts, pagesAhead };
  const pending = await countRows(context, works);

  if (options.dryRun === true && mode.pending !== undefined) {
    counts.scanned = counts.total;
    counts.changed = pending.reduce((sum, rows) => sum + rows, 0);
    return counts.report(mode.name, false, await planOf(installation, database, mode, works));
  }
  if (!writes) {
    for (const work of works) await new ReadOnlyRun(context, work).run();
  } else {
    await store.requireTables();
    for (const [i, work] of works.entries()) {
      if (mode.pending === undefined || pending[i] !== 0) await runTable(context, work);
    }
  }
  return counts.report(mode.name, options.signal?.aborted ?? false);
}

/** A core for each thread, while this one waits for the database; more do not help one database. */
const DEFAULT_THREADS = 2;
/** Values from which on starting threads pays. */
const THREADS_AFTER = 10_000;

function threadsFor({ options }: Installation, { threads }: RunOptions): CryptoThreads {
  const count = threads ?? (availableParallelism() > 1 ? DEFAULT_THREADS : 0);
  const after = threads === undefined ? THREADS_AFTER : 0;
  return new CryptoThreads(count, after, options.application ?? 'default');
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

async function runTable(context: RunContext, work: TableWork): Promise<void> {
  const { counts, options } = context;
  if (options.signal?.aborted ?? false) return;
  const table = new TableRun(context, work);
  await table.run();
  if (counts.remaining !== null) counts.remaining += (await table.rowsLeft()) ?? 0;
}

/** What the database throws is told apart from what is wrong with keys or rows. */
function interrupted(error: unknown): unknown {
  if (!(error instanceof DatabaseError) && !(error instanceof QueryFailedError)) return error;
  const code = databaseCode(error);
  return new RunInterruptedError(
    `The database failed in the middle of a run${code === '' ? '' : ` (${code})`}: ${error.message}. ` +
      'The page under way was rolled back and what came before it is done. Run again to go on from there.',
    { cause: error instanceof DatabaseError ? error : new DatabaseError(error.message, code) },
  );
}
