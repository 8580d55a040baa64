import type { DataSource, EntityTarget, ObjectLiteral, QueryRunner } from 'typeorm';
import { DriverUtils } from 'typeorm/driver/DriverUtils.js';
import { InstanceChecker } from 'typeorm/util/InstanceChecker.js';
import { ConfigurationError } from '../errors';
import { checkComparedValues } from './compared-values';
import { installDriverCodec } from './driver-codec';
import { checkedOptions } from './field-encryption-options';
import type { FieldEncryptionOptions } from './field-encryption-options';
import { Installation, isInstalled } from './installation';
import { reuseLoadedValues } from './loaded-values';
import { EncryptingSelectQueryBuilder } from './query/select-query-builder';
import { installOwnMetadata } from './own-metadata';
import { leaveToMigrations, leaveToSynchronize } from './own-tables';
import { redactNotFoundErrors } from './redacted-criteria';
import { installSchemaBuilder } from './schema-builder';
import { FieldEncryptionSubscriber } from './subscriber';

checkComparedValues();
reuseLoadedValues();

/** Drivers whose SQL and column types are tested. */
const SUPPORTED_DRIVERS = ['better-sqlite3', 'sqlite', 'postgres'];

/**
 * Gives a DataSource field encryption and returns the same DataSource, so that it can be exported,
 * injected and passed to the TypeORM CLI as before. Call it before `initialize()`.
 *
 * `initialize()` makes the keys ready. Where it cannot, because the key table is not there yet or the
 * KMS is away, it resolves all the same, so that migrations can run; the first use of an encrypted
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
  installQueryBuilders(dataSource);
  installEntityManagers(dataSource);
  return dataSource;
}

function assertInstallable(dataSource: DataSource): void {
  if (!InstanceChecker.isDataSource(dataSource)) {
    throw new ConfigurationError(
      'withFieldEncryption needs a DataSource: withFieldEncryption(new DataSource({ ... }), options).',
    );
  }
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
    await installation.prepareAtStart();
    return dataSource;
  };

  // They may have made the key table: the first keys are created here, outside any transaction.
  const runMigrations = dataSource.runMigrations.bind(dataSource);
  dataSource.runMigrations = async (options) => {
    const migrations = await runMigrations(options);
    await installation.prepareAtStart();
    return migrations;
  };

  const synchronize = dataSource.synchronize.bind(dataSource);
  dataSource.synchronize = async (dropBeforeSync) => {
    if (dataSource.isInitialized) leaveToSynchronize(dataSource);
    await synchronize(dropBeforeSync);
    leaveToMigrations(dataSource);
    await installation.prepareAtStart();
  };

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
      await destroy();
    } finally {
      await installation.close();
    }
  };
}

function installQueryBuilders(dataSource: DataSource): void {
  const createQueryBuilder = ((
    entityOrRunner?: EntityTarget<ObjectLiteral> | QueryRunner,
    alias?: string,
    queryRunner?: QueryRunner,
  ) => {
    if (alias === undefined) {
      return new EncryptingSelectQueryBuilder(
        dataSource,
        entityOrRunner as QueryRunner | undefined,
      );
    }
    const name = DriverUtils.buildAlias(dataSource.driver, undefined, alias);
    const { target } = dataSource.getMetadata(entityOrRunner as EntityTarget<ObjectLiteral>);
    return new EncryptingSelectQueryBuilder(dataSource, queryRunner)
      .select(name)
      .from(target, name);
  }) as DataSource['createQueryBuilder'];
  dataSource.createQueryBuilder = createQueryBuilder;
}

function installEntityManagers(dataSource: DataSource): void {
  redactNotFoundErrors(dataSource.manager);
  const createEntityManager = dataSource.createEntityManager.bind(dataSource);
  dataSource.createEntityManager = (queryRunner) =>
    redactNotFoundErrors(createEntityManager(queryRunner));
}
