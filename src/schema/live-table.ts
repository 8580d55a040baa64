import type { QueryRunner, Table } from 'typeorm';
import { ConfigurationError } from '../errors';
import type { EncryptedTable } from '../reencryption/encrypted-table';

/**
 * A table as the database has it; `undefined` where it is not there yet.
 *
 * @throws {@link ConfigurationError} where TypeORM mistakes the table for one of the main file: 0.3 does
 * with better-sqlite3 and an attached file, and its statements would move the table there.
 */
export async function liveTable(
  runner: QueryRunner,
  { metadata }: EncryptedTable,
): Promise<Table | undefined> {
  const live = await runner.getTable(metadata.tablePath);
  const isSqlite = runner.connection.options.type !== 'postgres';
  if (live === undefined || !isSqlite || live.name === metadata.tablePath) return live;
  throw new ConfigurationError(
    `${metadata.name}: this version of TypeORM takes its table, which is of an attached file, for one of the main file. ` +
      'Generate the migration with TypeORM 1, or write it by hand.',
    { entity: metadata.name },
  );
}
