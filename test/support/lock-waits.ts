import type { DataSource } from 'typeorm';

const POSTGRES_SQL = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;

/** Returns how many transactions in the database of a DataSource wait for a lock at this moment. */
export async function lockWaits(dataSource: DataSource): Promise<number> {
  if (dataSource.options.type === 'postgres') {
    return (await dataSource.query<unknown[]>(POSTGRES_SQL)).length;
  }
  const connections = await dataSource.query<{ id: number | string }[]>(
    'SELECT id AS id FROM information_schema.processlist WHERE db = DATABASE()',
  );
  const ids = new Set(connections.map(({ id }) => String(id)));
  return (await waitingThreads(dataSource)).filter((id) => ids.has(id)).length;
}

/** From the monitor of InnoDB: its tables are not filled again while anybody keeps reading them. */
async function waitingThreads(dataSource: DataSource): Promise<string[]> {
  const [row] = await dataSource.query<{ Status: string }[]>('SHOW ENGINE INNODB STATUS');
  return String(row?.Status)
    .split('---TRANSACTION')
    .filter((transaction) => transaction.includes('LOCK WAIT'))
    .flatMap((transaction) => /thread id (\d+)/.exec(transaction)?.[1] ?? []);
}
