import type { DataSource } from 'typeorm';

/** Returns how many transactions in the database of a DataSource wait for a lock at this moment. */
export async function lockWaits(dataSource: DataSource): Promise<number> {
  const waiting =
    dataSource.options.type === 'postgres'
      ? `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
      : `SELECT 1 FROM information_schema.innodb_trx JOIN information_schema.processlist
         ON id = trx_mysql_thread_id WHERE db = DATABASE() AND trx_state = 'LOCK WAIT'`;
  return (await dataSource.query<unknown[]>(waiting)).length;
}
