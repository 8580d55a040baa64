import { createHash } from 'node:crypto';
import type { QueryRunner } from 'typeorm';
import type { UniqueIndex } from '../encrypted-column';
import { escapedTable } from '../escaped-table';

/** PostgreSQL keeps locks in a table of fixed size: a larger write locks the whole index instead. */
const MAX_TOKEN_LOCKS = 100;

/**
 * Has writers of one value go one after the other, until the end of the transaction.
 *
 * Where all write the same token, the database's own index sees to that. But while a process has not
 * noticed yet that the root was rotated, two of them may write different tokens of one value, and
 * neither sees what the other has not committed.
 */
export async function lockTokens(
  runner: QueryRunner,
  index: UniqueIndex,
  values: readonly unknown[],
): Promise<void> {
  if (runner.connection.options.type === 'postgres') await lockInPostgres(runner, index, values);
  else await lockDatabase(runner, index);
}

async function lockInPostgres(
  runner: QueryRunner,
  { indexed }: UniqueIndex,
  values: readonly unknown[],
): Promise<void> {
  const { column, index } = indexed;
  const gate = lockNumber(
    createHash('sha256')
      .update(`${column.entityMetadata.tablePath}.${column.databaseName}`)
      .digest(),
  );
  const tokens = new Set(values.flatMap((value) => index.tokens(value)));
  if (tokens.size > MAX_TOKEN_LOCKS) {
    await runner.query('SELECT pg_advisory_xact_lock($1::bigint)', [gate]);
    return;
  }
  await runner.query('SELECT pg_advisory_xact_lock_shared($1::bigint)', [gate]);
  // In one order for all, so that no two wait for each other.
  for (const token of [...tokens].sort()) {
    const number = lockNumber(createHash('sha256').update(`${gate}.${token}`).digest());
    await runner.query('SELECT pg_advisory_xact_lock($1::bigint)', [number]);
  }
}

function lockNumber(digest: Buffer): string {
  return digest.readBigInt64BE(0).toString();
}

/** SQLite has one writer at a time; this makes it us before we read. */
async function lockDatabase(runner: QueryRunner, { indexed }: UniqueIndex): Promise<void> {
  const { driver } = runner.connection;
  const name = driver.escape(indexed.column.databaseName);
  const table = escapedTable(runner.connection, indexed.column.entityMetadata);
  await runner.query(`UPDATE ${table} SET ${name} = ${name} WHERE 1 = 0`);
}
