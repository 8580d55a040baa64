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

/** The limits of sessions, in seconds, from before they were lowered. */
const lowered = new WeakMap<QueryRunner, number>();

/** The server closes a connection that stands still for so long, and rolls its transaction back. */
export async function limitIdleTime(runner: QueryRunner, ms: number): Promise<void> {
  const [row] = (await runner.query('SELECT @@wait_timeout AS s')) as { s: number | string }[];
  const [before, limit] = [Number(row?.s), Math.ceil(ms / 1000)];
  if (before <= limit) return;
  lowered.set(runner, before);
  await setTimeoutOf(runner, limit);
}

/** It is a limit of the session, which goes back to its pool. */
export async function liftIdleLimit(runner: QueryRunner): Promise<void> {
  const before = lowered.get(runner);
  if (before === undefined) return;
  lowered.delete(runner);
  await setTimeoutOf(runner, before);
}

async function setTimeoutOf(runner: QueryRunner, seconds: number): Promise<void> {
  await runner.query(`SET SESSION wait_timeout = ${String(seconds)}`);
}
