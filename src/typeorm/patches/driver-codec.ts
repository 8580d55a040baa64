import type { ColumnType, ObjectLiteral } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { FieldEncryptionError } from '../../errors';
import { decryptStored } from '../metadata/encrypted-column';
import type { EncryptedColumn } from '../metadata/encrypted-column';
import type { Installation } from '../installation/installation';
import { assertNoUseIn } from '../query/refusal/statement-check';

/**
 * Puts the codec into the driver of one DataSource.
 *
 * `preparePersistentValue` and `prepareHydratedValue` are the one place through which every value of
 * a mapped column passes on its way in and out, whatever API or listener setting led there. So
 * cleartext cannot reach SQL, and entities never hold ciphertext. Through `escapeQueryWithParameters`
 * pass all statements of builders: those that nobody has checked are checked there.
 */
export function installDriverCodec(installation: Installation): void {
  const { driver } = installation.dataSource;
  const { encryptedColumn } = installation;

  const preparePersistentValue = driver.preparePersistentValue.bind(driver);
  driver.preparePersistentValue = (value: unknown, column: ColumnMetadata): unknown => {
    const encrypted = encryptedColumn(column);
    if (encrypted === undefined) return preparePersistentValue(value, column) as unknown;
    return value === null || value === undefined ? value : encrypted.cipher.encrypt(value);
  };

  const prepareHydratedValue = driver.prepareHydratedValue.bind(driver);
  driver.prepareHydratedValue = (value: unknown, column: ColumnMetadata): unknown => {
    const encrypted = encryptedColumn(column);
    if (encrypted === undefined) return prepareHydratedValue(value, column) as unknown;
    if (value === null || value === undefined) return value;
    return decryptStored(encrypted, value);
  };

  const escapeQueryWithParameters = driver.escapeQueryWithParameters.bind(driver);
  driver.escapeQueryWithParameters = (sql, ...parameters) => {
    // Builders that are not of our copy of TypeORM know nothing of encryption.
    if (!installation.checked.has(sql)) assertNoUseIn(sql, installation);
    return escapeQueryWithParameters(sql, ...parameters);
  };

  const normalizeType = driver.normalizeType.bind(driver);
  driver.normalizeType = (column) => {
    const encrypted = encryptedColumn(column as ColumnMetadata);
    if (encrypted === undefined) return normalizeType(column);
    return normalizeType({ type: storageType(encrypted, driver.options.type) });
  };

  const createGeneratedMap = driver.createGeneratedMap.bind(driver);
  driver.createGeneratedMap = (metadata, insertResult, ...rest) => {
    const map = createGeneratedMap(metadata, insertResult, ...rest);
    if (map === undefined) return map;
    for (const encrypted of installation.encryptedEntity(metadata)?.columns ?? []) {
      decryptReturned(encrypted, map);
      for (const { column } of encrypted.indexes) deletePath(map, column.propertyPath.split('.'));
    }
    return map;
  };
}

function storageType({ policy }: EncryptedColumn, driverType: string): ColumnType {
  if (policy.storage === 'binary') return driverType === 'postgres' ? 'bytea' : 'blob';
  return policy.columnLength === undefined ? 'text' : 'varchar';
}

/** RETURNING hands the stored form to the caller's entity on PostgreSQL: give it the value, or nothing. */
function decryptReturned(encrypted: EncryptedColumn, map: ObjectLiteral): void {
  const { column } = encrypted;
  const stored: unknown = column.getEntityValue(map);
  if (stored === undefined || stored === null) return;
  try {
    column.setEntityValue(map, decryptStored(encrypted, stored));
  } catch (error) {
    if (!(error instanceof FieldEncryptionError) || !error.retryable) throw error;
    column.setEntityValue(map, undefined);
  }
}

/** RETURNING * includes the hidden columns too. */
function deletePath(map: ObjectLiteral, [name = '', ...rest]: readonly string[]): void {
  if (rest.length === 0) Reflect.deleteProperty(map, name);
  else if (typeof map[name] === 'object' && map[name] !== null)
    deletePath(map[name] as ObjectLiteral, rest);
}
