import type { DataSource } from 'typeorm';
import { FieldEncryptionError } from '../../errors';

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
