import { storedForm } from '../../typeorm/encrypted-column';
import type { EncryptedColumn } from '../../typeorm/encrypted-column';

export function isNull(stored: unknown): stored is null | undefined {
  return stored === null || stored === undefined;
}

/** What is not ours: cleartext and values of other libraries, where the column may hold them. */
export function isOthers(encrypted: EncryptedColumn, stored: unknown): boolean {
  if (!encrypted.readsPlaintext && encrypted.previousFormat === undefined) return false;
  const form = storedForm(encrypted, stored);
  return form === 'cleartext' || form === 'previous';
}

/** The tokens that a value has now, in the order of the column's indexes. */
export function tokensOf({ indexes }: EncryptedColumn, value: unknown): string[] {
  return indexes.map(({ index }) => index.token(value));
}
