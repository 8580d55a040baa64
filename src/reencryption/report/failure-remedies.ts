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
    'ERR_KEY_NOT_FOUND: the value names a key that is not in the key table. Restore the key from a backup; or, if ' +
    'the row holds cleartext that merely has the form of a ciphertext, write it again by repository.update().',
};

/** Returns how to settle the failures of a run, each kind once. */
export function failureRemedies(failures: readonly RowFailure[]): string[] {
  const codes = new Set(failures.map(({ code }) => code));
  return [...codes].flatMap((code) => REMEDIES[code] ?? []);
}
