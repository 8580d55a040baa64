import { fetchPrevious } from '../encrypted-column';
import type { Installation } from '../installation';
import { FetchedValue } from '../previous-value';
import type { RawResult, Row } from './raw-result';

/**
 * Has the values of remote formats in raw rows decrypted, before TypeORM hydrates, which is synchronous.
 * Returns `undefined` where there is no other format.
 */
export function fetchPreviousValues(result: RawResult): Promise<void> | undefined {
  return result.installation.options.previousFormats && fetchAll(result);
}

/** Gives raw rows back what the database holds, for callers that asked for them beside the entities. */
export function restorePreviousValues({ options }: Installation, rows: readonly Row[]): void {
  if (options.previousFormats === undefined) return;
  for (const row of rows) {
    for (const [key, value] of Object.entries(row)) {
      if (value instanceof FetchedValue) row[key] = value.stored;
    }
  }
}

async function fetchAll({ rows, columns }: RawResult): Promise<void> {
  for (const [key, encrypted] of columns) {
    const ready = await fetchPrevious(
      encrypted,
      rows.map((row) => row[key]),
    );
    rows.forEach((row, i) => {
      if (ready[i] instanceof FetchedValue) row[key] = ready[i];
    });
  }
}
