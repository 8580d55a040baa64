import { QueryFailedError } from 'typeorm';
import type { DataSource } from 'typeorm';

import { FieldEncryptionError, RunInterruptedError } from '../../errors';
import type { Storage } from '../../format/field-ciphertext';
import { databaseCode } from '../../typeorm/dialect/database-code';

import type { Lease, PageChange, PageRequest, RowKey, StoredPage, WantedToken } from './row';
import type { WorkTable } from './work-table';

/**
 * Runs `work` on the driver's own connection and gives it back at once, so that the application can
 * use a pool of one in between.
 */
export async function withConnection<T>(
  dataSource: DataSource,
  work: (connection: unknown) => Promise<T>,
): Promise<T> {
  const runner = dataSource.createQueryRunner('master');
  try {
    return await work(await runner.connect());
  } catch (error) {
    throw withoutDetails(error);
  } finally {
    await runner.release();
  }
}

/** The message and code of a driver's error, without the rows and parameters that drivers put into theirs. */
export class DatabaseError extends Error {
  readonly code: string | undefined;

  constructor(message: string, code: string | undefined) {
    super(message);
    this.name = 'DatabaseError';
    this.code = code;
  }
}

function withoutDetails(error: unknown): unknown {
  if (error instanceof FieldEncryptionError || !isErrorLike(error)) return error;
  return new DatabaseError(error.message, typeof error.code === 'string' ? error.code : undefined);
}

/** By shape: neither better-sqlite3's errors nor those of native modules are instances of `Error` here. */
function isErrorLike(error: unknown): error is { message: string; code?: unknown } {
  const { message } = (error ?? {}) as { message?: unknown };
  return typeof message === 'string';
}

/** Turns a failure of the database into a {@link RunInterruptedError}; returns any other error as it is. */
export function runInterrupted(error: unknown): unknown {
  if (!(error instanceof DatabaseError) && !(error instanceof QueryFailedError)) return error;
  const code = databaseCode(error);
  return new RunInterruptedError(
    `The database failed in the middle of a run${code === '' ? '' : ` (${code})`}: ${error.message}. ` +
      'The page under way was rolled back and what came before it is done. Run again to go on from there.',
    { cause: error instanceof DatabaseError ? error : new DatabaseError(error.message, code) },
  );
}

/**
 * The port of a run to its database. Statements go past TypeORM's query runner, whose log and errors
 * would show their parameters, rows in cleartext among them.
 */
export interface RunDatabase {
  /** SQL for milliseconds since 1970, by the clock of the database. */
  readonly now: string;
  /** Ranges that a process works on at the same time. */
  readonly concurrency: number;
  /** The most rows that a page may have. */
  maxRows(table: WorkTable): number;
  /** SQL that holds for cells which begin with one of these prefixes; for none if there are no prefixes. */
  beginsWith(cell: string, storage: Storage, prefixes: readonly string[]): string;
  /** Types of a table's columns by their names; empty when there is no such table. */
  columnTypes(table: string): Promise<ReadonlyMap<string, string>>;
  /** `[rows that the run is about, those of them that meet the condition]` */
  count(table: WorkTable, condition: string): Promise<readonly [number, number]>;
  readPage(table: WorkTable, request: PageRequest): Promise<StoredPage>;
  /** Primary key of the last of the next `limit` rows; `undefined` when there are fewer. */
  boundary(table: WorkTable, request: PageRequest): Promise<RowKey | undefined>;
  /**
   * Writes the rows that are still as they were read and moves the checkpoint to `cursor`, all in one
   * transaction.
   *
   * @returns how many rows were written; `undefined` if the lease was lost and nothing was written.
   */
  writePage(
    table: WorkTable,
    change: PageChange,
    lease: Lease,
    cursor: RowKey | undefined,
  ): Promise<number | undefined>;
  /** Primary key of a row that holds this token. */
  holderOf(table: WorkTable, token: WantedToken): Promise<RowKey | undefined>;
  /** Why this cannot be a primary key of the table; `undefined` if it can. */
  keyProblem(table: WorkTable, key: RowKey): Promise<Error | undefined>;
  /** The primary key as TypeORM returns it. */
  reportedKey(table: WorkTable, key: RowKey): readonly unknown[];
  /**
   * Lag of the slowest replica in milliseconds; 0 if there is none. Left out where nothing tells it.
   *
   * @throws {@link RunPlanError} if the role may not see it
   */
  replicaLagMs?(): Promise<number>;
}
