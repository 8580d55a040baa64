import type { QueryRunner } from 'typeorm';

export const LOCK_TIMEOUT = '55P03';

/** How long to wait for a lock that another transaction holds; an audit sink may take 10 s of it. */
const LOCK_WAIT = '15s';

/** Sets the limit until the transaction ends, and returns what takes it back before. */
export async function limitLockWaits(runner: QueryRunner): Promise<() => Promise<void>> {
  const set = (await runner.query(
    "SELECT set_config('lock_timeout', $1, true) WHERE current_setting('lock_timeout') = '0'",
    [LOCK_WAIT],
  )) as unknown[];
  return async () => {
    if (set.length > 0) await runner.query('SET LOCAL lock_timeout = 0');
  };
}
