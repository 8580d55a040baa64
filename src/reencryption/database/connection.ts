import { types } from 'node:util';
import type { DataSource } from 'typeorm';

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
  if (!types.isNativeError(error)) return error;
  const { code } = error as { code?: unknown };
  return new DatabaseError(error.message, typeof code === 'string' ? code : undefined);
}
