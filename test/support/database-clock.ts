import type { DataSource } from 'typeorm';
import { installationOf } from '../../src/typeorm/installation/installations';

/** Has the keys of a DataSource see a clock of the database that is ahead of the real one. */
export function moveDatabaseClock(dataSource: DataSource, aheadMs: () => number): void {
  const { store } = installationOf(dataSource);
  const now = store.now.bind(store);
  store.now = async (connection) => new Date((await now(connection)).getTime() + aheadMs());
}
