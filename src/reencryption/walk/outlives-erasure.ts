import { FieldEncryptionError } from '../../errors';
import type { KeySource } from '../../keys/key-source';
import { keyPrefixOf } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';

/** Whether a value in a row of an erased scope is under no key of a scope, so that it stays readable. */
export function outlivesErasure(
  keys: KeySource,
  encrypted: EncryptedColumn,
  stored: unknown,
): boolean {
  const prefix = keyPrefixOf(encrypted, stored);
  try {
    return prefix === undefined || keys.keyByPrefix(prefix).scope === undefined;
  } catch (error) {
    if (error instanceof FieldEncryptionError) return false;
    throw error;
  }
}
