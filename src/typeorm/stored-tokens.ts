import type { QueryRunner } from 'typeorm';
import { selectAllRows } from './all-rows';
import { escapedTable } from './escaped-table';
import { hasColumn } from './live-columns';
import type { EncryptedColumns } from './take-over';

/** Whether a blind-index column already holds tokens. */
export async function hasStoredTokens(
  { byEntity }: EncryptedColumns,
  runner: QueryRunner,
): Promise<boolean> {
  const { connection } = runner;
  for (const [metadata, { columns }] of byEntity) {
    const table = escapedTable(connection, metadata);
    for (const { column } of columns.flatMap(({ indexes }) => indexes)) {
      // The schema may be behind the entities.
      if (!(await hasColumn(runner, metadata.tablePath, column.databaseName))) continue;
      const name = connection.driver.escape(column.databaseName);
      const rows = await selectAllRows(
        runner,
        metadata,
        `SELECT 1 FROM ${table} WHERE ${name} IS NOT NULL LIMIT 1`,
      );
      if (rows.length > 0) return true;
    }
  }
  return false;
}
