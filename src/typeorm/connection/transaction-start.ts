import type { QueryRunner } from 'typeorm';

import type { TransactionStart } from '../dialect/transactions';

/** Statements that begin a transaction; MariaDB's `BEGIN NOT ATOMIC` does not. */
const BEGINS = /^\s*(?:START\s+TRANSACTION\b|BEGIN(?:\s+WORK)?\s*;?\s*$)/i;
const ENDS = /^\s*(?:COMMIT\b|ROLLBACK\b(?!\s+(?:WORK\s+)?TO\b))/i;
/** Is for the next statement alone, unless that begins a transaction. */
const SEES_COMMITS = /^\s*SET\s+TRANSACTION\s+ISOLATION\s+LEVEL\s+READ\s+COMMITTED\s*;?\s*$/i;

const started = new WeakMap<QueryRunner, TransactionStart>();
const aboutToSee = new WeakSet<QueryRunner>();

/** Notes what a statement says about the transaction that begins with it, or with the next one. */
export function noteTransactionStart(runner: QueryRunner, sql: string): void {
  if (BEGINS.test(sql)) {
    started.set(runner, { at: Date.now(), seesCommits: aboutToSee.has(runner) });
  }
  if (ENDS.test(sql)) started.delete(runner);
  if (SEES_COMMITS.test(sql)) aboutToSee.add(runner);
  else aboutToSee.delete(runner);
}

/** Forgets a transaction that has ended. */
export function noteTransactionEnd(runner: QueryRunner): void {
  started.delete(runner);
}

/** Returns the beginning of the transaction of a connection; `undefined` if no statement that begins one was seen. */
export function transactionStart(runner: QueryRunner): TransactionStart | undefined {
  return started.get(runner);
}
