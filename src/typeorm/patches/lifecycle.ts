import type { DataSource } from 'typeorm';

import type { Installation } from '../installation/installation';
import { leaveToMigrations, leaveToSynchronize } from '../tables/own-tables';

import { FieldEncryptionSubscriber } from './subscriber';

/** Lets the keys of a DataSource come and go with its tables and its connections. */
export function installLifecycle(installation: Installation): void {
  const dataSource = installation.dataSource as DataSource & { buildMetadatas(): Promise<void> };

  const buildMetadatas = dataSource.buildMetadatas.bind(dataSource);
  dataSource.buildMetadatas = async () => {
    await buildMetadatas();
    await installation.takeOverMetadata();
    leaveToMigrations(dataSource);
    // TypeORM waits for what listens, entity by entity.
    if (installation.options.validate === true) {
      dataSource.subscribers.push(new FieldEncryptionSubscriber(installation));
    }
  };

  const initialize = dataSource.initialize.bind(dataSource);
  dataSource.initialize = async () => {
    await initialize();
    installation.warnOfDefaultApplication();
    await installation.prepareAtStart();
    return dataSource;
  };

  const runMigrations = dataSource.runMigrations.bind(dataSource);
  dataSource.runMigrations = (options) =>
    keysAfterTables(installation, () => runMigrations(options));

  const synchronize = dataSource.synchronize.bind(dataSource);
  dataSource.synchronize = (dropBeforeSync) =>
    keysAfterTables(installation, async () => {
      if (dataSource.isInitialized) leaveToSynchronize(dataSource);
      await synchronize(dropBeforeSync);
      leaveToMigrations(dataSource);
    });

  // Nothing may be encrypted under keys whose rows are gone.
  const dropDatabase = dataSource.dropDatabase.bind(dataSource);
  dataSource.dropDatabase = async () => {
    await dropDatabase();
    await installation.keys.close();
  };

  const destroy = dataSource.destroy.bind(dataSource);
  dataSource.destroy = async () => {
    try {
      await installation.stopSchedules();
      await installation.keys.addUsesAtEnd();
      // What cuts its writing off from here on is no failure that anybody should look into.
      installation.audit.anchor?.clear();
      await destroy();
    } finally {
      await installation.close();
    }
  };
}

/**
 * Makes the first keys with the tables, outside any transaction. Where the key table is new, keys in memory
 * are of one that somebody has dropped: nothing may be encrypted under them.
 */
async function keysAfterTables<T>(
  installation: Installation,
  makeTables: () => Promise<T>,
): Promise<T> {
  const { dataSource, store, keys } = installation;
  // A table of an earlier version is an error, and the migration at hand may be its remedy.
  const isNew = dataSource.isInitialized && !(await store.exists().catch(() => true));
  const made = await makeTables();
  if (isNew) await keys.close();
  await installation.prepareAtStart();
  return made;
}
