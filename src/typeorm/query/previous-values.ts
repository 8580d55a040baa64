import { fetchPrevious } from '../encrypted-column';
import type { Installation } from '../installation';
import { FetchedValue } from '../previous-value';
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
    rows.forEach((row, i) => {
      if (ready[i] instanceof FetchedValue) row[key] = ready[i];
    });
  }
}

/** Raw rows stay as the database holds them for whoever asked for them beside the entities. */
export function restoreStoredValues(
  rows: readonly Record<string, unknown>[],
  { options }: Installation,
): void {
  if (options.previousFormats === undefined) return;
  for (const row of rows) {
    for (const [key, value] of Object.entries(row)) {
      if (value instanceof FetchedValue) row[key] = value.stored;
    }
  }
}
