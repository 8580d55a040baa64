import { KeyStateError } from '../../errors';
import { nameTitle } from '../record/key-record';
import type { KeyPurpose } from '../record/key-record';

/** How often an operation starts over after another process changed the rows under it. */
const ATTEMPTS = 5;

/**
 * Repeats an attempt until it gives a result. One that finds its rows changed by another process gives
 * undefined, and the next looks at them anew.
 *
 * @throws what `lost` makes after five attempts
 */
export async function retryConflicts<T>(
  attempt: () => Promise<T | undefined>,
  lost: () => KeyStateError,
): Promise<T> {
  for (let count = 1; count <= ATTEMPTS; count += 1) {
    const result = await attempt();
    if (result !== undefined) return result;
  }
  throw lost();
}

/** For a key that another process changed first, perhaps in the same way. */
export function changedMeanwhile(id: string): KeyStateError {
  return new KeyStateError(
    `key ${id} was changed by another process meanwhile. Try again. ${IF_IT_GOES_ON}`,
    { keyId: id, retryable: true },
  );
}

/** For a name that has no active version after another process changed it. */
export function leftWithoutActive(purpose: KeyPurpose, name: string): KeyStateError {
  return new KeyStateError(
    `${nameTitle(purpose, name)} was changed by another process and now has no active version. Try again. ${IF_IT_GOES_ON}`,
    { retryable: true },
  );
}

/** The causes of a conflict that persists, other than a process that is always faster. */
export const IF_IT_GOES_ON =
  'If it goes on, look for a trigger on data_keys, and for two rows of one id: `field-encryption audit verify` and ' +
  '`field-encryption doctor` tell.';
