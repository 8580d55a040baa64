import type { EntityManager, EntityTarget, ObjectLiteral } from 'typeorm';

import { ConfigurationError } from './errors';
import type { Installation } from './typeorm/installation/installation';
import { countValues, noteUse, noteUseInTurn } from './typeorm/installation/value-use';
import {
  decryptStored,
  fetchPrevious,
  keyPrefixOf,
  scopeOfValue,
} from './typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from './typeorm/metadata/encrypted-column';
import { tellOfFailure } from './typeorm/metadata/failure-message';
import { withKnownRow } from './typeorm/metadata/known-row';
import { StoredInRow } from './typeorm/metadata/stored-in-row';
import { insertedRow } from './typeorm/query/write/written-row';
import { valueResults } from './value-results';
import type { ValueResults } from './value-results';

/** Options of the methods that encrypt and decrypt values or make tokens. */
export interface ValueOptions {
  /**
   * The manager of the transaction around the call. Keys that are not in memory are read on its connection;
   * without it, a pool that transactions have exhausted is waited for in vain.
   */
  manager?: EntityManager;
  /**
   * The row of a value or token that is bound to it (`bindTo`, `@KeyScope`): an entity, or an object with the
   * bound properties.
   */
  row?: ObjectLiteral;
}

/** Options of the methods that encrypt and decrypt arrays of values. */
export interface ValuesOptions extends Omit<ValueOptions, 'row'> {
  /** The rows of values that are bound to them (`bindTo`), in the order of the values. */
  rows?: readonly ObjectLiteral[];
}

/** Returns the options of an array with one value. */
export function ofOne({ row, ...others }: ValueOptions = {}): ValuesOptions {
  return row === undefined ? others : { ...others, rows: [row] };
}

/** @throws {@link ConfigurationError} for a property that is not encrypted */
export function encryptedProperty(
  { columns, dataSource }: Installation,
  entity: EntityTarget<ObjectLiteral>,
  property: string,
): EncryptedColumn {
  const metadata = dataSource.getMetadata(entity);
  const encrypted = columns.byEntity.get(metadata)?.byPropertyPath.get(property);
  if (encrypted !== undefined) return encrypted;
  throw new ConfigurationError(`${metadata.name}.${property} is not an encrypted property.`, {
    entity: metadata.name,
    property,
  });
}

/** Encrypts values as their column would store them. */
export async function encryptValues(
  installation: Installation,
  encrypted: EncryptedColumn,
  values: readonly unknown[],
  { manager, rows }: ValuesOptions,
): Promise<ValueResults<string | Buffer | null>> {
  const { binding, cipher, policy, scope } = encrypted;
  noteUse(installation, encrypted, 'encrypt', () => countValues(values, (value) => value));
  await installation.prepareDataKey(policy.keyName, manager?.queryRunner);
  if (scope !== undefined) {
    await installation.recordAcrossScopes(manager?.queryRunner);
    const scopes = values.map((_, i) => scope.of(insertedRow(rows?.[i] ?? {})));
    await installation.prepareScopes(scopes, { index: false }, manager?.queryRunner);
  }
  return told(encrypted, 'encrypt', values, (value, i) => {
    if (value === null || value === undefined) return null;
    const row = rows?.[i] ?? (scope && {});
    if (row === undefined) return cipher.encrypt(value);
    return withKnownRow(insertedRow(row), () => cipher.encrypt(value, binding?.contextIn(row)));
  });
}

/** Decrypts stored values of a column. */
export async function decryptValues(
  installation: Installation,
  encrypted: EncryptedColumn,
  stored: readonly unknown[],
  { manager, rows }: ValuesOptions,
): Promise<ValueResults<unknown>> {
  const count = (): number => countValues(stored, (value) => value);
  await noteUseInTurn(manager?.queryRunner, installation, encrypted, 'decrypt', count);
  await installation.loadKeys(
    stored.flatMap((value) => keyPrefixOf(encrypted, value) ?? []),
    manager?.queryRunner,
  );
  if (encrypted.scope !== undefined) await installation.recordAcrossScopes(manager?.queryRunner);
  const ready = await fetchPrevious(encrypted, stored);
  const { binding, scope } = encrypted;
  return told(encrypted, 'decrypt', ready, (value, i) => {
    if (value === null || value === undefined) return null;
    const row = rows?.[i] ?? (scope && {});
    const ofKey = scopeOfValue(installation.keys, encrypted, value);
    const scopeId = row && scope?.ofRead(insertedRow(row), ofKey);
    const context = row && binding?.contextIn(row, scopeId);
    return decryptStored(
      encrypted,
      context === undefined ? value : new StoredInRow(value, context),
    );
  });
}

/** Returns results, after publishing those that failed. */
function told<T>(
  { column, policy }: EncryptedColumn,
  operation: 'encrypt' | 'decrypt',
  values: readonly unknown[],
  work: Parameters<typeof valueResults<T>>[1],
): ValueResults<T> {
  const results = valueResults(values, work);
  for (const { index, error } of results.failures) {
    const stored = operation === 'decrypt' ? values[index] : undefined;
    tellOfFailure(column.entityMetadata.connection, operation, error, policy, stored);
  }
  return results;
}
