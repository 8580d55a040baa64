import type { QueryRunner } from 'typeorm';

import { databaseCode } from '../database-code';
import type { OpenWriters, Writer } from '../transactions';

const LOCK_WAIT_TIMEOUT = 'ER_LOCK_WAIT_TIMEOUT';
const NO_SUCH_TABLE = 'ER_NO_SUCH_TABLE';

/**
 * Locks one table after the other against writing, which no transaction that has written it lets happen before it
 * ends, and unlocks it at once. Transactions that begin meanwhile wait a second at most.
 *
 * `information_schema.innodb_trx` would take a privilege that shows the statements of all users, and has no tables.
 */
export const openWriters: OpenWriters = {
  of: async (runner, tables) => {
    const [row] = (await runner.query('SELECT @@lock_wait_timeout AS s')) as { s: number }[];
    await runner.query('SET SESSION lock_wait_timeout = 1');
    try {
      const writers = await preparedWriters(runner);
      for (const table of tables) {
        if (!(await mayLock(runner, table))) {
          writers.push({ writer: table, prepared: false, since: null });
        }
      }
      return writers;
    } finally {
      await runner.query(`SET SESSION lock_wait_timeout = ${String(row?.s)}`);
    }
  },
  shownBy: 'SHOW PROCESSLIST and XA RECOVER',
};

/**
 * Fetches the prepared transactions of the server. Once their session is gone they lock rows and no tables, and nothing
 * tells which tables they have written.
 */
async function preparedWriters(runner: QueryRunner): Promise<Writer[]> {
  const prepared = (await runner.query('XA RECOVER')) as { readonly data: string }[];
  return prepared.map(({ data }) => ({ writer: data, prepared: true, since: null }));
}

async function mayLock(runner: QueryRunner, table: string): Promise<boolean> {
  try {
    await runner.query(`LOCK TABLES ${table} READ`);
    return true;
  } catch (error) {
    const code = databaseCode(error);
    if (code === LOCK_WAIT_TIMEOUT) return false;
    // Nobody writes a table that is missing; the counting of its rows says so.
    if (code === NO_SUCH_TABLE) return true;
    throw error;
  } finally {
    await runner.query('UNLOCK TABLES');
  }
}
