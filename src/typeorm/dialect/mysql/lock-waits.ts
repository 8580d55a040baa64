import type { QueryRunner } from 'typeorm';

/** How long to wait for a lock that another transaction holds, in seconds; an audit sink may take 10 of them. */
const LOCK_WAIT_S = 15;

/** Works with a limit to how long a lock is waited for, which is 50 s by default. */
export async function withLimitedLockWaits<T>(
  runner: QueryRunner,
  work: () => Promise<T>,
): Promise<T> {
  const [row] = (await runner.query('SELECT @@innodb_lock_wait_timeout AS s')) as { s: number }[];
  const before = Number(row?.s);
  if (before <= LOCK_WAIT_S) return work();
  await runner.query(`SET SESSION innodb_lock_wait_timeout = ${String(LOCK_WAIT_S)}`);
  try {
    return await work();
  } finally {
    await runner.query(`SET SESSION innodb_lock_wait_timeout = ${String(before)}`);
  }
}
