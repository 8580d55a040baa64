import { FieldEncryptionError } from '../../errors';
import type { ErasedError } from '../../errors';
import type { KeySource } from '../../keys/key-source';
import { keyPrefixOf } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';

/**
 * Returns the code of an erasure for a value that it left readable. What the keys of the scope have encrypted is gone
 * for good, or is to be, and nothing is wrong with its row.
 */
export function codeLeftBehind(
  keys: KeySource,
  encrypted: EncryptedColumn,
  stored: unknown,
  error: ErasedError,
): ErasedError['code'] | undefined {
  return outlivesErasure(keys, encrypted, stored) ? error.code : undefined;
}

/** Whether a value in a row of an erased scope is under no key of a scope, so that it stays readable. */
function outlivesErasure(keys: KeySource, encrypted: EncryptedColumn, stored: unknown): boolean {
  const prefix = keyPrefixOf(encrypted, stored);
  try {
    return prefix === undefined || keys.keyByPrefix(prefix).scope === undefined;
  } catch (error) {
    if (error instanceof FieldEncryptionError) return false;
    throw error;
  }
}
