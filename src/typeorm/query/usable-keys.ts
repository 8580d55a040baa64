import { FieldEncryptionError } from '../../errors';
import type { DataKey } from '../../keys/data-key';
import type { KeySource } from '../../keys/key-source';

/**
 * The keys that ciphertexts with these prefixes are under; `undefined` where one of them cannot be
 * had, or may no longer be used. What knows it from before must not go round that.
 */
export function usableKeys(
  prefixes: ReadonlySet<string>,
  source: KeySource,
): readonly DataKey[] | undefined {
  try {
    return [...prefixes].map((prefix) => source.keyByPrefix(prefix));
  } catch (error) {
    if (error instanceof FieldEncryptionError) return undefined;
    throw error;
  }
}
