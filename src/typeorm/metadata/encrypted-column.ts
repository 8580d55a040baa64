import type { EntityMetadata } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import type { IndexMetadata } from 'typeorm/metadata/IndexMetadata.js';

import { FieldEncryptionError, InvalidFieldPolicyError, UnsupportedQueryError } from '../../errors';
import type { BlindIndex, BlindIndexPolicy } from '../../field/blind-index';
import type { FieldCipher } from '../../field/field-cipher';
import type { FieldPolicy } from '../../field/field-policy';
import type { PreviousFormat } from '../../import/previous-format';
import type { KeySource } from '../../keys/key-source';
import type { Scope } from '../../keys/record/scope';
import { maybeCleartext, readLegacyPlaintext } from '../codec/cleartext';
import {
  fetchRemote,
  formatNotRecognised,
  hasPreviousForm,
  readPrevious,
} from '../codec/previous-value';

import type { CiphertextCheck } from './ciphertext-check';
import type { RowBinding } from './row-binding';
import type { RowScope } from './row-scope';
import { StoredInRow } from './stored-in-row';

/** A blind index together with the hidden column that stores it. */
export interface IndexedColumn {
  readonly column: ColumnMetadata;
  readonly policy: BlindIndexPolicy;
  readonly index: BlindIndex;
  /** Whether its tokens are made with a key of the row's scope. */
  readonly isScoped: boolean;
  /** The other columns of a unique index over a tuple; none for any other index. */
  readonly uniqueWith: readonly ColumnMetadata[];
  /** The database index, whose first column is the hidden one. */
  readonly databaseIndex: IndexMetadata;
}

/** An encrypted column of one DataSource: its metadata, and what protects it. */
export interface EncryptedColumn {
  readonly column: ColumnMetadata;
  readonly policy: FieldPolicy;
  readonly cipher: FieldCipher;
  /** The columns of the row that its values are bound to, if they are. */
  readonly binding: RowBinding | undefined;
  /** The scope whose keys its values have; undefined for the common ones. */
  readonly scope: RowScope | undefined;
  /** Its blind indexes, in the order in which lookups prefer them. */
  readonly indexes: readonly IndexedColumn[];
  /** Whether reading gives a value that is still encrypted (`read: 'sealed'`). */
  readonly isSealed: boolean;
  /** Whether TypeORM's diff compares values by their text; see `patches/saving.ts`. */
  readonly comparedAsText: boolean;
  /** Whether cleartext rows may still be read (`legacyPlaintext`). */
  readonly readsPlaintext: boolean;
  /** How another library wrote the rows that are not converted yet (`previousFormats`). */
  readonly previousFormat: PreviousFormat | undefined;
  /** The CHECK constraint against cleartext, if the column has one. */
  readonly check: CiphertextCheck | undefined;
}

/**
 * The form of a stored value: a ciphertext of this library, a damaged one, a value in the previous format of
 * its column, or anything else, which is cleartext if the column may hold some.
 */
export type StoredForm = 'ciphertext' | 'damaged' | 'previous' | 'cleartext';

/** A unique blind index and its encrypted column. */
export interface UniqueIndex {
  readonly encrypted: EncryptedColumn;
  readonly indexed: IndexedColumn;
}

/** A scope of the rows of an entity. */
export interface ScopedColumns {
  readonly scope: RowScope;
  /** Whether it has a key for tokens, too. */
  readonly index: boolean;
}

/** The encrypted columns of one entity. */
export interface EncryptedEntity {
  readonly columns: readonly EncryptedColumn[];
  readonly byPropertyPath: ReadonlyMap<string, EncryptedColumn>;
  /** Names of the data keys that writes to the entity need. */
  readonly keyNames: readonly string[];
  /** The indexes that keep values unique, with their columns. */
  readonly uniqueIndexes: readonly UniqueIndex[];
  /** Whether a column has a blind index. */
  readonly indexed: boolean;
  /** Whether one has tokens under the common root, which writes and lookups then need. */
  readonly needsIndexRoot: boolean;
  /** Whether a column has a binding. */
  readonly isBound: boolean;
  /** The scopes that its columns have keys of. */
  readonly scopes: readonly ScopedColumns[];
}

/** The encrypted columns of a DataSource, by the metadata that TypeORM has built. */
export interface EncryptedColumns {
  readonly byColumn: ReadonlyMap<ColumnMetadata, EncryptedColumn>;
  readonly byEntity: ReadonlyMap<EntityMetadata, EncryptedEntity>;
  readonly keyNames: readonly string[];
  readonly needsIndexRoot: boolean;
  /** Whether some columns have keys of scopes. */
  readonly scoped: boolean;
}

/** Returns the kinds of scopes that columns have keys of. */
export function declaredKinds({ byEntity }: Pick<EncryptedColumns, 'byEntity'>): string[] {
  const kinds = [...byEntity.values()].flatMap(({ scopes }) =>
    scopes.map(({ scope }) => scope.kind),
  );
  return [...new Set(kinds)].sort();
}

/** Returns `Entity.property`, for messages. */
export function describeColumn({ policy }: EncryptedColumn): string {
  return `${policy.entity}.${policy.property}`;
}

/**
 * Whether stored tokens of an index may have several forms.
 *
 * @throws whatever {@link KeySource.indexRoots} throws, for an index with the common key
 */
export function isIndexInTransition(
  { policy }: EncryptedColumn,
  { index, isScoped }: IndexedColumn,
): boolean {
  return isScoped ? policy.readsUnscoped : index.isInTransition;
}

/** Returns the error of a query that ciphertext cannot answer; `problem` goes on after the column's name. */
export function queryRefused(encrypted: EncryptedColumn, problem: string): UnsupportedQueryError {
  const { entity, property } = encrypted.policy;
  return new UnsupportedQueryError(`${describeColumn(encrypted)} ${problem}`, { entity, property });
}

/** Returns the error of a property that cannot be protected as it is declared. */
export function policyRefused(
  { entity, property }: Pick<FieldPolicy, 'entity' | 'property'>,
  problem: string,
): InvalidFieldPolicyError {
  return new InvalidFieldPolicyError(`${entity}.${property}: ${problem}`, { entity, property });
}

/**
 * Tells the form of a stored value without decrypting it. The data key that {@link keyPrefixOf} names must
 * have been asked for: a value of another format may begin like a ciphertext of this library (one in 256
 * random ones do), but not with the id of an existing key (2^-72 for each key).
 */
export function storedForm(
  { cipher, previousFormat }: EncryptedColumn,
  stored: unknown,
): StoredForm {
  const found = cipher.inspect(stored);
  const prefix = found.kind === 'plaintext' ? undefined : found.prefix;
  if (prefix !== undefined && cipher.knowsKey(prefix)) {
    return found.kind === 'ciphertext' ? found.kind : 'damaged';
  }
  if (previousFormat !== undefined && hasPreviousForm(previousFormat, stored)) return 'previous';
  return found.kind === 'ciphertext' ? found.kind : 'cleartext';
}

/** Returns the prefix of the data key that is needed to read a stored value, or to tell its form. */
export function keyPrefixOf(encrypted: EncryptedColumn, stored: unknown): string | undefined {
  const found = encrypted.cipher.inspect(stored);
  if (found.kind === 'ciphertext') return found.prefix;
  return found.kind === 'malformed' && mayHoldOthers(encrypted) ? found.prefix : undefined;
}

/** Whether a column may hold values that this library has not encrypted. */
export function mayHoldOthers({ readsPlaintext, previousFormat }: EncryptedColumn): boolean {
  return readsPlaintext || previousFormat !== undefined;
}

/** Returns the scope whose key has encrypted a value; undefined for a common key, or one that cannot be had. */
export function scopeOfValue(
  keys: KeySource,
  encrypted: EncryptedColumn,
  stored: unknown,
): Scope | undefined {
  return scopeOfKey(keys, keyPrefixOf(encrypted, stored));
}

/** {@link scopeOfValue} by the prefix of its key. */
export function scopeOfKey(keys: KeySource, prefix: string | undefined): Scope | undefined {
  try {
    return prefix === undefined ? undefined : keys.keyByPrefix(prefix).scope;
  } catch (error) {
    if (error instanceof FieldEncryptionError) return undefined;
    throw error;
  }
}

/**
 * Decrypts a stored value of this library or of the column's previous format, or reads it as cleartext if
 * the column may still hold some. A damaged ciphertext is not passed through as cleartext, and any other
 * value is refused.
 *
 * @param value - the stored value, as {@link StoredInRow} if the column has a binding
 */
export function decryptStored(encrypted: EncryptedColumn, value: unknown): unknown {
  const { cipher, policy, readsPlaintext, previousFormat } = encrypted;
  const isInRow = value instanceof StoredInRow;
  const stored = isInRow ? value.stored : value;
  const context = isInRow ? value.context : undefined;
  if (!readsPlaintext && previousFormat === undefined) return cipher.decrypt(stored, context);
  const form = storedForm(encrypted, stored);
  if (form === 'previous' && previousFormat !== undefined) {
    return readPrevious(policy, previousFormat, stored);
  }
  if (form !== 'cleartext') {
    try {
      return cipher.decrypt(stored, context);
    } catch (error) {
      throw readsPlaintext ? maybeCleartext(policy, error) : error;
    }
  }
  if (readsPlaintext || previousFormat === undefined) return readLegacyPlaintext(encrypted, stored);
  throw formatNotRecognised(policy, previousFormat);
}

/**
 * Prepares stored values for {@link decryptStored}, which is synchronous, once their data keys are loaded:
 * replaces the values of a remote format by their plaintexts, in a form that shows nothing of them. All
 * others, NULL included, come back as they are.
 *
 * @throws {@link KmsUnavailableError}, {@link ConfigurationError} if the remote side fails as a whole
 */
export async function fetchPrevious(
  encrypted: EncryptedColumn,
  stored: readonly unknown[],
): Promise<readonly unknown[]> {
  const { policy, previousFormat } = encrypted;
  if (previousFormat === undefined || !('decryptAll' in previousFormat)) return stored;
  const previous = stored.filter(
    (value) => value !== null && value !== undefined && storedForm(encrypted, value) === 'previous',
  );
  const fetched = await fetchRemote(policy, previousFormat, previous);
  return stored.map((value) => fetched.get(value) ?? value);
}
