import type { QueryRunner } from 'typeorm';

const started = new WeakMap<QueryRunner, number>();

/** Notes that TypeORM is about to begin a transaction. */
export function noteTransactionStart(runner: QueryRunner): void {
  started.set(runner, Date.now());
}

/** Forgets a transaction that has ended. */
export function noteTransactionEnd(runner: QueryRunner): void {
  started.delete(runner);
}

/** Returns when TypeORM began the transaction of a connection, in milliseconds since 1970; `undefined` if it did not. */
export function transactionStart(runner: QueryRunner): number | undefined {
  return started.get(runner);
}
