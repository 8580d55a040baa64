import { createHash } from 'node:crypto';
import type { QueryRunner } from 'typeorm';

import { KeyStateError } from '../../../errors';
import { limitLockWaits } from '../../connection/own-transaction';
import { isLockTimeout } from '../../connection/transient-conflict';
import { escapedTable } from '../../dialect/escaped-table';
import type { UniqueIndex } from '../../metadata/encrypted-column';

import { tokensOf } from './row-values';
import type { ValueOfRow } from './row-values';

/** PostgreSQL keeps locks in a table of fixed size: a larger write locks the whole index instead. */
const MAX_TOKEN_LOCKS = 100;

/**
 * Serializes the writers of each of these values until the end of the transaction.
 *
 * The database's own index does so for those that write the same token. But while a process has not
 * noticed yet that the root was rotated, two of them may write different tokens of one value, and
 * neither sees what the other has not committed. Of a tuple only the token counts, as the same clear value
 * may be written in several forms.
 */
export async function lockTokens(
  runner: QueryRunner,
  index: UniqueIndex,
  values: readonly ValueOfRow[],
): Promise<void> {
  if (runner.connection.options.type !== 'postgres') return lockDatabase(runner, index);
  const gate = gateOf(index);
  const tokens = new Set(values.flatMap((value) => tokensOf(index, value)));
  await forLimitedTime(runner, () => lockInOrder(runner, gate, tokens));
}

/** Makes all writers of an index wait until the end of the transaction, which has to see what they write. */
export async function lockIndex(runner: QueryRunner, index: UniqueIndex): Promise<void> {
  if (runner.connection.options.type === 'postgres') {
    await forLimitedTime(runner, () => lockGate(runner, gateOf(index)));
  } else await lockDatabase(runner, index);
}

async function lockInOrder(
  runner: QueryRunner,
  gate: string,
  tokens: ReadonlySet<string>,
): Promise<void> {
  if (tokens.size > MAX_TOKEN_LOCKS) return lockGate(runner, gate);
  await runner.query('SELECT pg_advisory_xact_lock_shared($1::bigint)', [gate]);
  // In the same order everywhere, so that no two wait for each other.
  for (const token of [...tokens].sort()) {
    await runner.query('SELECT pg_advisory_xact_lock($1::bigint)', [
      lockNumber(`${gate}.${token}`),
    ]);
  }
}

async function lockGate(runner: QueryRunner, gate: string): Promise<void> {
  await runner.query('SELECT pg_advisory_xact_lock($1::bigint)', [gate]);
}

/** Waits for a lock for a limited time only: any role can take and keep one. */
async function forLimitedTime(runner: QueryRunner, lock: () => Promise<void>): Promise<void> {
  const isLimited = await limitLockWaits(runner);
  try {
    await lock();
  } catch (error) {
    // The transaction is over, and the limit with it.
    throw isLockTimeout(error) ? heldByOthers(error) : error;
  }
  // The caller's next statements wait as long as before.
  if (isLimited) await runner.query('SET LOCAL lock_timeout = 0');
}

function gateOf({ indexed: { column } }: UniqueIndex): string {
  return lockNumber(`${column.entityMetadata.tablePath}.${column.databaseName}`);
}

function heldByOthers(cause: unknown): KeyStateError {
  return new KeyStateError(
    'A blind index is changing, and another transaction that writes a value of it does not end. Look for who ' +
      'holds it open (pg_locks, locktype advisory, and pg_stat_activity), and try again.',
    { retryable: true, cause },
  );
}

function lockNumber(name: string): string {
  return createHash('sha256').update(name).digest().readBigInt64BE(0).toString();
}

/** Takes SQLite's write lock before the first read. */
async function lockDatabase(runner: QueryRunner, { indexed }: UniqueIndex): Promise<void> {
  const { driver } = runner.connection;
  const name = driver.escape(indexed.column.databaseName);
  const table = escapedTable(runner.connection, indexed.column.entityMetadata);
  await runner.query(`UPDATE ${table} SET ${name} = ${name} WHERE 1 = 0`);
}
