import { assertExpected } from './assert-expected';
import { restoreCachedBytes } from './cached-bytes';
import { ciphertextPrefixes } from './ciphertext-prefixes';
import { decryptAhead } from './decrypt-ahead';
import { decryptToRemember, placeKnownValues } from './known-values';
import { fetchPreviousValues } from './previous-values';
import type { RawResult } from './raw-result';

/**
 * Makes ready what TypeORM's hydration, which is synchronous, needs: the data keys of all rows, and
 * the values that are decrypted ahead; and refuses rows that hold another value than was looked up. Waits for what has to be waited for only.
 */
export async function prepareHydration(result: RawResult): Promise<void> {
  const { installation, queryRunner } = result;
  restoreCachedBytes(result);
  const prefixes = ciphertextPrefixes(result);
  const loading = installation.loadKeys(prefixes, queryRunner);
  if (loading !== undefined) await loading;
  placeKnownValues(result, prefixes);
  const fetching = fetchPreviousValues(result);
  if (fetching !== undefined) await fetching;
  decryptToRemember(result);
  assertExpected(result);
  decryptAhead(result, prefixes);
}
