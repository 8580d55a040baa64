import type { QueryRunner } from 'typeorm';

/** MariaDB has the first name, MySQL the second, and newer versions of MariaDB both. */
const ISOLATION_SQL =
  "SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')";

const MENTIONS_ISOLATION = /uncommitted|_isolation/i;

/** Comments; of those that are executed, what is around their SQL. */
const COMMENTS = /\/\*M?!\d*|\/\*[^]*?\*\/|\*\/|(?:#|--\s)[^\n]*/g;

/**
 * Names the level in words, or assigns to the variable without a word for the session, which is for the next
 * transaction: another value than the names of the other levels may be the number of this one, or computed.
 */
const LETS_READ =
  /(?:^|;)\s*SET\b[^;]*?(?:\bREAD[\s-]+UNCOMMITTED\b|@@`?(?:tx|transaction)_isolation`?\s*:?=(?!\s*['"]?(?:READ-COMMITTED|REPEATABLE-READ|SERIALIZABLE)\b))/i;

export function letsReadUncommitted(sql: string): boolean {
  return MENTIONS_ISOLATION.test(sql) && LETS_READ.test(sql.replace(COMMENTS, ' '));
}

export async function readsUncommitted(runner: QueryRunner): Promise<boolean> {
  const levels = (await runner.query(ISOLATION_SQL)) as { readonly Value: string }[];
  return levels.some(({ Value: level }) => level === 'READ-UNCOMMITTED');
}
