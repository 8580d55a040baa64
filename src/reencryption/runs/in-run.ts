import { QueryFailedError } from 'typeorm';
import type { DataSource } from 'typeorm';

import { RunInterruptedError } from '../../errors';
import type { Installation } from '../../typeorm/installation/installation';
import { databaseCode } from '../../typeorm/connection/transient-conflict';
import { PostgresRunDatabase } from '../database/postgres';
import { DatabaseError } from '../database/run-database';
import type { RunDatabase } from '../database/run-database';
import { SqliteRunDatabase } from '../database/sqlite';
import { modeOf } from '../modes/modes';
import { workOf } from '../plan/work-plan';
import type { TableWork } from '../plan/work-plan';
import type { RunContext } from '../walk/run-context';

import { RangeStore } from '../lease/range-store';
import { checkOptions } from '../report/run-options';
import type { RunOptions } from '../report/run-options';
import { RunCounts } from '../report/run-report';
import type { RunMode } from '../report/run-report';
import { RunStore } from '../lease/run-store';

function runDatabaseOf(dataSource: DataSource): RunDatabase {
  return dataSource.options.type === 'postgres'
    ? new PostgresRunDatabase(dataSource)
    : new SqliteRunDatabase(dataSource);
}

/**
 * Settles what a run works on and with, and works on it.
 *
 * @throws {@link RunPlanError}, {@link ConfigurationError}, {@link KeyStateError} before a row is touched
 * @throws {@link RunInterruptedError} when the database fails
 */
export async function inRun<T>(
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
    const works = await workOf(installation, database, mode, options);
    const counts = new RunCounts();
    return await work({ installation, database, store, ranges, mode, options, counts }, works);
  } catch (error) {
    throw interrupted(error);
  } finally {
    ranges.close();
  }
}

/** Rows that are still to be done, for each table. */
export async function countRows(
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
  counts.most = counts.total;
  if (mode.pending === undefined) counts.remaining = null;
  return pendings;
}

/** What the database throws is told apart from what is wrong with keys or rows. */
export function interrupted(error: unknown): unknown {
  if (!(error instanceof DatabaseError) && !(error instanceof QueryFailedError)) return error;
  const code = databaseCode(error);
  return new RunInterruptedError(
    `The database failed in the middle of a run${code === '' ? '' : ` (${code})`}: ${error.message}. ` +
      'The page under way was rolled back and what came before it is done. Run again to go on from there.',
    { cause: error instanceof DatabaseError ? error : new DatabaseError(error.message, code) },
  );
}
