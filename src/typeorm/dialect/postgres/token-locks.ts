import { createHash } from 'node:crypto';
import type { QueryRunner } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { KeyStateError } from '../../../errors';
import { databaseCode } from '../database-code';

import { LOCK_TIMEOUT, limitLockWaits } from './lock-waits';

/** PostgreSQL keeps locks in a table of fixed size: a larger write locks the whole index instead. */
const MAX_TOKEN_LOCKS = 100;

export async function lockTokens(
  runner: QueryRunner,
  column: ColumnMetadata,
  tokensOf: () => ReadonlySet<string>,
): Promise<void> {
  const gate = gateOf(column);
  const tokens = tokensOf();
  await forLimitedTime(runner, () => lockInOrder(runner, gate, tokens));
}

export async function lockIndex(runner: QueryRunner, column: ColumnMetadata): Promise<void> {
  await forLimitedTime(runner, () => lockGate(runner, gateOf(column)));
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
  const unlimit = await limitLockWaits(runner);
  try {
    await lock();
  } catch (error) {
    // The transaction is over, and the limit with it.
    throw databaseCode(error) === LOCK_TIMEOUT ? heldByOthers(error) : error;
  }
  // The caller's next statements wait as long as before.
  await unlimit();
}

function gateOf({ entityMetadata, databaseName }: ColumnMetadata): string {
  return lockNumber(`${entityMetadata.tablePath}.${databaseName}`);
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
