import { createHash } from 'node:crypto';
import type { QueryRunner } from 'typeorm';
import { KeyStateError } from '../../../errors';
import type { UniqueIndex } from '../../metadata/encrypted-column';
import { escapedTable } from '../../connection/sql-dialect';
import { databaseCode } from '../../connection/transient-conflict';

/** PostgreSQL keeps locks in a table of fixed size: a larger write locks the whole index instead. */
const MAX_TOKEN_LOCKS = 100;
/** For how long others are waited for. */
const LOCK_WAIT = '15s';

/**
 * Has writers of one value go one after the other, until the end of the transaction.
 *
 * Where all write the same token, the database's own index sees to that. But while a process has not
 * noticed yet that the root was rotated, two of them may write different tokens of one value, and
 * neither sees what the other has not committed. Of a tuple only the token counts: the same clear value
 * may be written in several forms.
 */
export async function lockTokens(
  runner: QueryRunner,
  index: UniqueIndex,
  values: readonly unknown[],
): Promise<void> {
  if (runner.connection.options.type === 'postgres') await lockInPostgres(runner, index, values);
  else await lockDatabase(runner, index);
}

/** Has all writers of an index wait until the end of the transaction, for who must see what they write. */
export async function lockIndex(runner: QueryRunner, index: UniqueIndex): Promise<void> {
  if (runner.connection.options.type === 'postgres') {
    await forLimitedTime(runner, () => lockGate(runner, gateOf(index)));
  } else await lockDatabase(runner, index);
}

async function lockInPostgres(
  runner: QueryRunner,
  index: UniqueIndex,
  values: readonly unknown[],
): Promise<void> {
  const gate = gateOf(index);
  const tokens = new Set(values.flatMap((value) => index.indexed.index.tokens(value)));
  await forLimitedTime(runner, () => lockInOrder(runner, gate, tokens));
}

async function lockInOrder(
  runner: QueryRunner,
  gate: string,
  tokens: ReadonlySet<string>,
): Promise<void> {
  if (tokens.size > MAX_TOKEN_LOCKS) return lockGate(runner, gate);
  await runner.query('SELECT pg_advisory_xact_lock_shared($1::bigint)', [gate]);
  // In one order for all, so that no two wait for each other.
  for (const token of [...tokens].sort()) {
    const number = lockNumber(createHash('sha256').update(`${gate}.${token}`).digest());
    await runner.query('SELECT pg_advisory_xact_lock($1::bigint)', [number]);
  }
}

async function lockGate(runner: QueryRunner, gate: string): Promise<void> {
  await runner.query('SELECT pg_advisory_xact_lock($1::bigint)', [gate]);
}

/** Any role can take and keep such a lock. A limit that the database has already is somebody's decision. */
async function forLimitedTime(runner: QueryRunner, lock: () => Promise<void>): Promise<void> {
  const [setting] = (await runner.query('SHOW lock_timeout')) as { lock_timeout: string }[];
  const isUnlimited = setting?.lock_timeout === '0';
  if (isUnlimited) await runner.query(`SET LOCAL lock_timeout = '${LOCK_WAIT}'`);
  try {
    await lock();
  } catch (error) {
    // The transaction is over, and the limit with it.
    throw databaseCode(error) === '55P03' ? heldByOthers(error) : error;
  }
  // What the caller sends next waits as long as it did before.
  if (isUnlimited) await runner.query('SET LOCAL lock_timeout = 0');
}

function gateOf({ indexed: { column } }: UniqueIndex): string {
  return lockNumber(
    createHash('sha256')
      .update(`${column.entityMetadata.tablePath}.${column.databaseName}`)
      .digest(),
  );
}

function heldByOthers(cause: unknown): KeyStateError {
  return new KeyStateError(
    'A blind index is changing, and another transaction that writes a value of it does not end. Look for who ' +
      'holds it open (pg_locks, locktype advisory, and pg_stat_activity), and try again.',
    { retryable: true, cause },
  );
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
