import { KeyPrefixes } from '../key-prefixes';
import type { RawResult } from './raw-result';

/**
 * Collects the header prefixes of the ciphertexts in raw rows, so that all missing data keys can be
 * fetched at once before TypeORM hydrates, which is synchronous.
 */
export function ciphertextPrefixes({ rows, columns }: RawResult): Set<string> {
  const prefixes = new KeyPrefixes();
  for (const [key, encrypted] of columns) {
    for (const row of rows) prefixes.add(encrypted, row[key]);
  }
  return prefixes.found;
}
