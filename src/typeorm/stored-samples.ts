import type { EntityMetadata, QueryRunner } from 'typeorm';
import { selectAllRows } from './all-rows';
import type { EncryptedColumn } from './encrypted-column';
import { escapedTable } from './escaped-table';
import { hasColumn } from './live-columns';

/** Values looked at from either end of a table. */
const SAMPLES = 100;

/**
 * The first and the last stored values of a column by primary key: a table that is being encrypted has
 * cleartext at one end at most after its first new row. None where the schema is behind the entities.
 *
 * @throws {@link ConfigurationError} where rows are hidden from the database role
 */
export async function storedSamples(
  runner: QueryRunner,
  metadata: EntityMetadata,
  { column: { databaseName } }: EncryptedColumn,
): Promise<unknown[]> {
  if (!(await hasColumn(runner, metadata.tablePath, databaseName))) return [];
  const { driver } = runner.connection;
  const table = escapedTable(runner.connection, metadata);
  const cell = driver.escape(databaseName);
  const samples: unknown[] = [];
  for (const direction of ['ASC', 'DESC']) {
    const order = metadata.primaryColumns
      .map((column) => `${driver.escape(column.databaseName)} ${direction}`)
      .join(', ');
    const rows = await selectAllRows<{ readonly stored: unknown }>(
      runner,
      metadata,
      `SELECT ${cell} AS stored FROM ${table} WHERE ${cell} IS NOT NULL ` +
        `${order === '' ? '' : `ORDER BY ${order} `}LIMIT ${String(SAMPLES)}`,
    );
    samples.push(...rows.map(({ stored }) => stored));
  }
  return samples;
}
