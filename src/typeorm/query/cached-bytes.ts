import type { Installation } from '../installation';
import type { Expressions } from './any-query-builder';
import { selectedColumns } from './ciphertext-prefixes';

/** What JSON makes of a Buffer. */
interface JsonBytes {
  readonly type: 'Buffer';
  readonly data: readonly number[];
}

/** Gives binary ciphertexts back the form that they lose in the query cache, which keeps rows as JSON. */
export function restoreCachedBytes(
  rows: readonly Record<string, unknown>[],
  expressions: Expressions,
  installation: Installation,
): void {
  if (expressions.cache === false) return;
  for (const [key, { policy }] of selectedColumns(expressions, installation)) {
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
