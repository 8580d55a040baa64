import type { EncryptedColumn } from '../encrypted-column';
import { CLEARTEXT } from './raw-use';
import type { ColumnReference } from './sql-references';

/** How a lookup compares a column that may hold cleartext rows; see `predicate.ts`. */
const CLEARTEXT_COMPARISON = new RegExp(String.raw`^\s+IN \(:\.\.\.encrypted_${CLEARTEXT}_\d+\)`);

/** Whether a piece of SQL may name an encrypted column where it does: a test for NULL, a count. */
export function isHarmless(
  { before, after }: ColumnReference,
  { readsPlaintext }: EncryptedColumn,
): boolean {
  if (readsPlaintext && CLEARTEXT_COMPARISON.test(after)) return true;
  if (/^\s+IS\s+(?:NOT\s+)?NULL\b/i.test(after)) return true;
  // How TypeORM leaves rows alone that an upsert would not change; ciphertexts always do.
  if (/^\s+IS\s+DISTINCT\s+FROM\s+EXCLUDED\b/i.test(after)) return true;
  return /\bCOUNT\s*\(\s*$/i.test(before) && /^\s*\)/.test(after);
}
