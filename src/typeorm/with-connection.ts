import type { DataSource, QueryRunner } from 'typeorm';

/** Runs `work` on a connection, the given one or one to the primary. */
export async function withConnection<T>(
  dataSource: DataSource,
  connection: QueryRunner | undefined,
  work: (runner: QueryRunner) => Promise<T>,
): Promise<T> {
  if (connection !== undefined) return work(connection);
  const runner = dataSource.createQueryRunner('master');
  try {
    return await work(runner);
  } finally {
    await runner.release();
  }
}
