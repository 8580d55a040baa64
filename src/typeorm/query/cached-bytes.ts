import type { RawResult } from './raw-result';

/** What JSON makes of a Buffer. */
interface JsonBytes {
  readonly type: 'Buffer';
  readonly data: readonly number[];
}

/** Gives binary ciphertexts back the form that they lose in the query cache, which keeps rows as JSON. */
export function restoreCachedBytes({ rows, columns, expressions }: RawResult): void {
  if (expressions.cache === false) return;
  for (const [key, { policy }] of columns) {
    if (policy.storage !== 'binary') continue;
    for (const row of rows) {
      const stored = row[key];
      if (isJsonBytes(stored)) row[key] = Buffer.from(stored.data);
    }
  }
}

function isJsonBytes(stored: unknown): stored is JsonBytes {
  return (
    typeof stored === 'object' &&
    stored !== null &&
    'type' in stored &&
    stored.type === 'Buffer' &&
    'data' in stored &&
    Array.isArray(stored.data)
  );
}
