import { DataSource } from 'typeorm';
import { InstanceChecker } from 'typeorm/util/InstanceChecker.js';

import { ConfigurationError } from '../errors';

import { checkedOptions } from './declare/field-encryption-options';
import type { FieldEncryptionOptions } from './declare/field-encryption-options';
import { dialectOf } from './dialect/dialect-of';
import { Installation } from './installation/installation';
import { assertNotWrappedByOther, isInstalled, register } from './installation/installations';
import { patchDataSource, patchTypeorm } from './patches/install';

/**
 * Adds field encryption to a DataSource and returns the same DataSource, so that it can be exported,
 * injected and passed to the TypeORM CLI as before. Call it before `initialize()`.
 *
 * `initialize()` prepares the keys. If it cannot, because the key table does not exist yet or the KMS is out
 * of reach, it still resolves, so that migrations can run; the first use of an encrypted column then reports
 * what is missing. To fail at start instead, await `fieldEncryption(dataSource).ready()`.
 *
 * @throws {@link ConfigurationError} for wrong options, an initialized DataSource or an unsupported driver
 */
export function withFieldEncryption<T extends DataSource>(
  dataSource: T,
  options: FieldEncryptionOptions,
): T {
  assertInstallable(dataSource);
  const installation = register(new Installation(dataSource, checkedOptions(options)));
  patchTypeorm();
  patchDataSource(installation);
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
  // Refuses drivers that are not supported.
  dialectOf(dataSource);
}
