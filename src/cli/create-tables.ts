import { fieldEncryptionMigrations } from '../../migrations';
import type { Session } from './session';

/**
 * Creates the library's tables, by the same migrations that applications list in their DataSource; run
 * later by TypeORM, these find them and record themselves. What is there stays.
 */
export async function createTables({ dataSource }: Session): Promise<void> {
  const runner = dataSource.createQueryRunner('master');
  try {
    await runner.startTransaction();
    for (const Migration of fieldEncryptionMigrations) await new Migration().up(runner);
    await runner.commitTransaction();
  } catch (error) {
    if (runner.isTransactionActive) await runner.rollbackTransaction();
    throw error;
  } finally {
    await runner.release();
  }
}
