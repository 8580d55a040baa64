import type { QueryRunner } from 'typeorm';

const started = new WeakMap<QueryRunner, number>();

/** Statements that begin a transaction; MariaDB's `BEGIN NOT ATOMIC` does not. */
const BEGINS = /^\s*(?:START\s+TRANSACTION\b|BEGIN(?:\s+WORK)?\s*;?\s*$)/i;

/** Notes that a transaction is about to begin, if this statement begins one. */
export function noteTransactionStart(runner: QueryRunner, sql: string): void {
  if (BEGINS.test(sql)) started.set(runner, Date.now());
}

/** Forgets a transaction that has ended. */
export function noteTransactionEnd(runner: QueryRunner): void {
  started.delete(runner);
}

/**
 * Returns when the transaction of a connection began, or an earlier one of the same connection, in milliseconds since
 * 1970; `undefined` if no statement to begin one was seen.
 */
export function transactionStart(runner: QueryRunner): number | undefined {
  return started.get(runner);
}
