import { fetchPrevious } from '../encrypted-column';
import { FetchedValue } from '../previous-value';
import { markStandIns } from '../stand-in';
import type { RawResult } from './raw-result';

/**
 * Has the values of remote formats in raw rows decrypted, before TypeORM hydrates, which is synchronous.
 * Returns `undefined` where there is no other format.
 */
export function fetchPreviousValues(result: RawResult): Promise<void> | undefined {
  return result.installation.options.previousFormats && fetchAll(result);
}

async function fetchAll({ rows, columns }: RawResult): Promise<void> {
  for (const [key, encrypted] of columns) {
    const ready = await fetchPrevious(
      encrypted,
      rows.map((row) => row[key]),
    );
    markStandIns(rows, key);
    rows.forEach((row, i) => {
      if (ready[i] instanceof FetchedValue) row[key] = ready[i];
    });
  }
}
