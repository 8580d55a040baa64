import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import type { BlindIndex, BlindIndexPolicy } from '../field/blind-index';
import type { FieldCipher } from '../field/field-cipher';
import type { FieldPolicy } from '../field/field-policy';
import { readLegacyPlaintext } from './legacy-plaintext';

/** A blind index together with the hidden column that stores it. */
export interface IndexedColumn {
  readonly column: ColumnMetadata;
  readonly policy: BlindIndexPolicy;
  readonly index: BlindIndex;
}

/** An encrypted column of one DataSource: its metadata, and what protects it. */
export interface EncryptedColumn {
  readonly column: ColumnMetadata;
  readonly policy: FieldPolicy;
  readonly cipher: FieldCipher;
  /** In the order in which lookups prefer them. */
  readonly indexes: readonly IndexedColumn[];
  /** Cleartext rows may still be read (`legacyPlaintext`). */
  readonly readsPlaintext: boolean;
}

/** The encrypted columns of one entity. */
export interface EncryptedEntity {
  readonly columns: readonly EncryptedColumn[];
  readonly byPropertyPath: ReadonlyMap<string, EncryptedColumn>;
  /** Names of the data keys that writes of the entity need. */
  readonly keyNames: readonly string[];
  /** Whether a column has a blind index, so that writes and lookups need the index root. */
  readonly indexed: boolean;
}

/** `Entity.property`, for messages. */
export function describeColumn({ policy }: EncryptedColumn): string {
  return `${policy.entity}.${policy.property}`;
}

/**
 * Decrypts a stored value, or reads it as cleartext where the column may still hold some. What is a
 * damaged ciphertext is not passed through as cleartext.
 */
export function decryptStored(
  { cipher, policy, readsPlaintext }: EncryptedColumn,
  stored: unknown,
): unknown {
  if (!readsPlaintext) return cipher.decrypt(stored);
  const isCiphertext = cipher.inspect(stored).kind === 'ciphertext' || cipher.isDamaged(stored);
  return isCiphertext ? cipher.decrypt(stored) : readLegacyPlaintext(policy, stored);
}
