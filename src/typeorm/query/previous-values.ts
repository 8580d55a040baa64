import { fetchPrevious } from '../encrypted-column';
import type { Installation } from '../installation';
import { FetchedValue } from '../previous-value';
import { markStandIns } from '../stand-in';
import type { Expressions } from './any-query-builder';
import { selectedColumns } from './ciphertext-prefixes';

/** Has the values of remote formats in raw rows decrypted, before TypeORM hydrates, which is synchronous. */
export async function fetchPreviousValues(
  rows: readonly Record<string, unknown>[],
  expressions: Expressions,
  installation: Installation,
): Promise<void> {
  if (installation.options.previousFormats === undefined) return;
  for (const [key, encrypted] of selectedColumns(expressions, installation)) {
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
