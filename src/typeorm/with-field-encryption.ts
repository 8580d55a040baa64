import { DataSource } from 'typeorm';
import { InstanceChecker } from 'typeorm/util/InstanceChecker.js';
import { ConfigurationError } from '../errors';
import { checkComparedValues } from './compared-values';
import { installDriverCodec } from './driver-codec';
import { leaveOutFailingRows } from './failing-rows';
import { checkedOptions } from './field-encryption-options';
import type { FieldEncryptionOptions } from './field-encryption-options';
import { assertNotWrappedByOther, Installation, isInstalled } from './installation';
import { prepareKeysBeforeSaving } from './keys-before-saving';
import './query/select-query-builder';
import './query/write-query-builders';
import { installOwnMetadata } from './own-metadata';
import { leaveToMigrations, leaveToSynchronize } from './own-tables';
import './redacted-criteria';
import { installSchemaBuilder } from './schema-builder';
import { checkKeysOfStatements } from './sent-statements';
import { FieldEncryptionSubscriber } from './subscriber';

checkComparedValues();
checkKeysOfStatements();
prepareKeysBeforeSaving();

/** Drivers whose SQL and column types are tested. */
const SUPPORTED_DRIVERS = ['better-sqlite3', 'sqlite', 'postgres'];

/**
 * Gives a DataSource field encryption and returns the same DataSource, so that it can be exported,
 * injected and passed to the TypeORM CLI as before. Call it before `initialize()`.
 *
 * `initialize()` makes the keys ready. Where it cannot, because the key table is not there yet or the
 * KMS is away, it still resolves, so that migrations can run; the first use of an encrypted
 * column then says what is missing. To fail at start instead, await `fieldEncryption(dataSource).ready()`.
 *
 * @throws {@link ConfigurationError} for wrong options, an initialized DataSource or an unsupported driver.
 */
export function withFieldEncryption<T extends DataSource>(
  dataSource: T,
  options: FieldEncryptionOptions,
): T {
  assertInstallable(dataSource);
  const installation = new Installation(dataSource, checkedOptions(options));
  installOwnMetadata(dataSource);
  installLifecycle(installation);
  installSchemaBuilder(installation);
  installDriverCodec(installation);
  leaveOutFailingRows(installation);
  return dataSource;
}

function assertInstallable(dataSource: DataSource): void {
  if (!InstanceChecker.isDataSource(dataSource)) {
    throw new ConfigurationError(
      'withFieldEncryption needs a DataSource: withFieldEncryption(new DataSource({ ... }), options).',
    );
  }
  if (!(dataSource instanceof DataSource)) {
    throw new ConfigurationError(
      'The DataSource was made by another copy of TypeORM than the one that typeorm-field-encryption uses. ' +
        'Have one copy of TypeORM: "npm ls typeorm" shows them, and "npm dedupe" removes what is double.',
    );
  }
  assertNotWrappedByOther(dataSource);
  if (isInstalled(dataSource)) {
    throw new ConfigurationError(
      'withFieldEncryption was called twice for one DataSource. Call it once, where the DataSource is made.',
    );
  }
  if (dataSource.isInitialized) {
    throw new ConfigurationError(
      'withFieldEncryption was called after initialize(). Call it before.',
    );
  }
  const { type } = dataSource.options;
  if (!SUPPORTED_DRIVERS.includes(type)) {
    throw new ConfigurationError(
      `Field encryption does not support the database type "${type}". Supported are ${SUPPORTED_DRIVERS.join(', ')}.`,
    );
  }
}

function installLifecycle(installation: Installation): void {
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
