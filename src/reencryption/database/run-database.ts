import type { DataSource } from 'typeorm';

import { FieldEncryptionError } from '../../errors';
import type { Storage } from '../../format/field-ciphertext';
import type { WorkTable } from './work-table';

import type { Lease, PageChange, PageRequest, RowKey, StoredPage, WantedToken } from './row';

/**
 * Runs work on the driver's own connection, which it has for no longer than that: a run leaves a
 * pool of one to the application in between.
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

/** Drivers put rows and parameters into errors. Message and code say what happened without them. */
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

/** The error of better-sqlite3 is none by its internal class, and errors of native modules none by ours. */
function isErrorLike(error: unknown): error is { message: string; code?: unknown } {
  const { message } = (error ?? {}) as { message?: unknown };
  return typeof message === 'string';
}

/**
 * What a run asks of a database. Statements go past TypeORM's own runner, whose query log and errors
 * would show their parameters: rows that are being encrypted are among them in clear.
 */
export interface RunDatabase {
  /** SQL for milliseconds since 1970, by the clock of the database. */
  readonly now: string;
  /** Ranges of rows that one worker does best at the same time. */
  readonly lanes: number;
  /** Rows that one page may have. */
  maxRows(table: WorkTable): number;
  /** SQL that is true of cells which begin with one of these prefixes; of no cell where there is none. */
  beginsWith(cell: string, storage: Storage, prefixes: readonly string[]): string;
  /** Types of a table's columns by their names; empty when there is no such table. */
  columnTypes(table: string): Promise<ReadonlyMap<string, string>>;
  /** `[rows, rows that meet the condition]` */
  count(table: WorkTable, condition: string): Promise<readonly [number, number]>;
  readPage(table: WorkTable, request: PageRequest): Promise<StoredPage>;
  /** Primary key of the last of the next `limit` rows; `undefined` when there are fewer. */
  boundary(table: WorkTable, request: PageRequest): Promise<RowKey | undefined>;
  /**
   * Writes the rows, each only where the row is as it was read, and moves the checkpoint to
   * `cursor`, all of it or nothing.
   *
   * @returns how many rows were written; `undefined`, and nothing is, when the lease was lost.
   */
  writePage(
    table: WorkTable,
    change: PageChange,
    lease: Lease,
    cursor: RowKey | undefined,
  ): Promise<number | undefined>;
  /** Primary key of a row that holds this token. */
  holderOf(table: WorkTable, token: WantedToken): Promise<RowKey | undefined>;
  /** What keeps this from being a primary key of the table; `undefined` for one that it may have. */
  keyProblem(table: WorkTable, key: RowKey): Promise<Error | undefined>;
  /** Primary key as TypeORM would give it. */
  reportedKey(table: WorkTable, key: RowKey): readonly unknown[];
  /** Milliseconds that the slowest replica is behind; 0 where there is none. */
  replicaLagMs(): Promise<number>;
}
