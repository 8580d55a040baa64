import { assertExpected } from './assert-expected';
import { restoreCachedBytes } from './cached-bytes';
import { ciphertextPrefixes } from './ciphertext-prefixes';
import { fetchPreviousValues } from './previous-values';
import type { RawResult } from './raw-result';

/**
 * Makes ready what TypeORM's hydration, which is synchronous, needs: the data keys of all rows, and the
 * values of remote formats; and refuses rows that hold another value than was looked up. Waits for
 * what has to be waited for only.
 */
export async function prepareHydration(result: RawResult): Promise<void> {
  const { installation, queryRunner } = result;
  restoreCachedBytes(result);
  const prefixes = ciphertextPrefixes(result);
  const loading = installation.loadKeys(prefixes, queryRunner);
  if (loading !== undefined) await loading;
  const fetching = fetchPreviousValues(result);
  if (fetching !== undefined) await fetching;
  assertExpected(result);
}
