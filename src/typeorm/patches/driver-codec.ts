import type { ObjectLiteral } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { ErasedError, FieldEncryptionError, KmsUnavailableError } from '../../errors';
import { isOwnKmsRefusal } from '../../keys/wrapping/own-kms-refusals';
import type { CheckedOptions } from '../declare/field-encryption-options';
import { dialectOf } from '../dialect/dialect-of';
import type { Installation } from '../installation/installation';
import { decryptStored } from '../metadata/encrypted-column';
import type { EncryptedColumn } from '../metadata/encrypted-column';
import { tellOfFailure } from '../metadata/failure-message';
import { inRow } from '../metadata/row-binding';
import { inHydratedRow, sealedInHydratedRow } from '../query/hydration/bound-rows';
import { assertNoUseIn } from '../query/refusal/statement-check';
import { contextOfWrittenRow } from '../query/write/written-row';

import { override } from './override';

/**
 * Installs the codec in the driver of one DataSource.
 *
 * Every value of a mapped column passes through `preparePersistentValue` on its way in and through
 * `prepareHydratedValue` on its way out, whatever the API or the listener setting. So cleartext cannot
 * reach SQL, and entities never hold ciphertext.
 */
export function installDriverCodec(installation: Installation): void {
  const { encryptedColumn } = installation;
  const { driver } = installation.dataSource;
  const { values } = dialectOf(installation.dataSource);
  override(driver, 'preparePersistentValue', (prepare) => (value: unknown, column) => {
    const encrypted = encryptedColumn(column);
    if (encrypted === undefined) return prepare(value, column) as unknown;
    if (value === null || value === undefined) return value;
    try {
      return encrypted.cipher.encrypt(value, contextOfWrittenRow(encrypted));
    } catch (error) {
      throw tellOfFailure(installation.dataSource, 'encrypt', error, encrypted.policy);
    }
  });
  override(driver, 'prepareHydratedValue', (prepare) => (value: unknown, column) => {
    const encrypted = encryptedColumn(column);
    if (encrypted === undefined) return prepare(value, column) as unknown;
    if (value === null || value === undefined) return value;
    try {
      if (encrypted.isSealed) return sealedInHydratedRow(encrypted, value);
      return encrypted.scope === undefined
        ? decryptStored(encrypted, inHydratedRow(encrypted, value))
        : decryptOfScope(encrypted, value, installation.options);
    } catch (error) {
      throw tellOfFailure(installation.dataSource, 'decrypt', error, encrypted.policy, value);
    }
  });
  override(driver, 'normalizeType', (normalize) => (column) => {
    const encrypted = encryptedColumn(column as ColumnMetadata);
    if (encrypted === undefined) return normalize(column);
    const { storage, columnLength } = encrypted.policy;
    return normalize({ type: values.columnType(storage, columnLength) });
  });
  decryptReturnedRows(installation);
}

/** Checks the statements of unpatched builders, which a second copy of TypeORM has. */
export function checkForeignStatements(installation: Installation): void {
  const { driver } = installation.dataSource;
  override(driver, 'escapeQueryWithParameters', (escape) => (sql, ...parameters) => {
    if (!installation.checked.has(sql)) assertNoUseIn(sql, installation);
    return escape(sql, ...parameters);
  });
}

/** Decrypts a value under a key of its scope, or reads it as the options say where there is no such key. */
function decryptOfScope(
  encrypted: EncryptedColumn,
  value: unknown,
  { onErased, onUnavailable }: CheckedOptions,
): unknown {
  try {
    return decryptStored(encrypted, inHydratedRow(encrypted, value));
  } catch (error) {
    if (error instanceof ErasedError && onErased === 'null') return null;
    if (onUnavailable !== 'omit') throw error;
    if (error instanceof KmsUnavailableError || isOwnKmsRefusal(error)) return undefined;
    throw error;
  }
}

/** Decrypts what RETURNING hands back to the caller's entity. */
function decryptReturnedRows({ dataSource, encryptedEntity }: Installation): void {
  override(dataSource.driver, 'createGeneratedMap', (create) => (metadata, ...rest) => {
    const map = create(metadata, ...rest);
    if (map === undefined) return map;
    for (const encrypted of encryptedEntity(metadata)?.columns ?? []) {
      decryptReturned(encrypted, map);
      // RETURNING * includes the hidden columns.
      for (const { column } of encrypted.indexes) deletePath(map, column.propertyPath.split('.'));
    }
    return map;
  });
}

/** Replaces a ciphertext by its value, or by nothing if the key is not in memory or its row was not returned. */
function decryptReturned(encrypted: EncryptedColumn, map: ObjectLiteral): void {
  const { binding, column, isSealed } = encrypted;
  const stored: unknown = column.getEntityValue(map);
  if (stored === undefined || stored === null) return;
  if (isSealed) {
    column.setEntityValue(map, undefined);
    return;
  }
  const isAlone = binding?.columns.some((bound) => bound.getEntityValue(map) === undefined);
  try {
    const returned = isAlone === true ? undefined : decryptReturnedValue(encrypted, stored, map);
    column.setEntityValue(map, returned);
  } catch (error) {
    if (!(error instanceof FieldEncryptionError) || !error.retryable) throw error;
    column.setEntityValue(map, undefined);
  }
}

function decryptReturnedValue(
  encrypted: EncryptedColumn,
  stored: unknown,
  map: ObjectLiteral,
): unknown {
  const { columns = [] } = encrypted.binding ?? {};
  const value = inRow(encrypted, stored, (i) => columns[i]?.getEntityValue(map) as unknown);
  return decryptStored(encrypted, value);
}

function deletePath(map: ObjectLiteral, [name = '', ...rest]: readonly string[]): void {
  if (rest.length === 0) Reflect.deleteProperty(map, name);
  else if (typeof map[name] === 'object' && map[name] !== null)
    deletePath(map[name] as ObjectLiteral, rest);
}
