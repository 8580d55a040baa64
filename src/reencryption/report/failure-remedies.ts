import type { RowFailure, RowFailureCode } from './run-report';

/** How to settle what a run cannot: the codes for which the message of the run does not say it. */
const REMEDIES: Partial<Record<RowFailureCode, string>> = {
  DUPLICATE_TOKEN:
    'DUPLICATE_TOKEN: both rows have one value to a unique index. Decide which of them is right, and change ' +
    'the other or remove it.',
  ERR_UNSUPPORTED_VALUE:
    'ERR_UNSUPPORTED_VALUE: the value is not of the type of the property, or too long for it. Correct it in ' +
    'the row, or the type or length in the decorator.',
  ERR_KEY_NOT_FOUND:
    'ERR_KEY_NOT_FOUND: the value names a key that is not in the key table. Restore the key from a backup, a key of a scope ' +
    'from one of the database; or, if ' +
    'the row holds cleartext that merely has the form of a ciphertext, write it again by repository.update().',
  COMMON_KEY:
    'COMMON_KEY: the value is under a common key, and the property has keys of scopes. If it is from before that, ' +
    'name the property in the option legacyScope, deploy, and run `field-encryption data reencrypt`; until then the ' +
    'row is neither read nor found. If every value was moved already, somebody has put it there.',
  ERR_ERASED:
    'ERR_ERASED: the scope of the row is erased, or to be erased, and the value is not under its keys: the erasure ' +
    'leaves it readable. Cancel the erasure, run again, and request it anew; of an erased scope, delete the row, or set ' +
    'the property to null.',
  MISSING_INDEX_KEY:
    'MISSING_INDEX_KEY: the scope of the row has no index key, so that no look-up finds the row. If it had one, ' +
    'restore its row of field_encryption_scope_keys from a backup of the database; or run ' +
    '`field-encryption data reindex`, which makes a new one, and new tokens.',
};

/** Returns how to settle the failures of a run, each kind once. */
export function failureRemedies(failures: readonly RowFailure[]): string[] {
  const codes = new Set(failures.map(({ code }) => code));
  return [...codes].flatMap((code) => REMEDIES[code] ?? []);
}
