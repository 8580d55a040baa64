import { canonicalJson } from '../encoding/canonical-json';
import type { CanonicalValue } from '../encoding/canonical-json';
import { UnsupportedValueError } from '../errors';

/** Characters that JSON does not escape and no terminal shows: nobody is to approve what they cannot see. */
const UNSEEN =
  /[\u007f-\u009f\u2800]|\p{Default_Ignorable_Code_Point}|\p{Cf}|\p{Co}|\p{Cn}|\p{Zl}|\p{Zp}|\p{Cs}/u;

/** Whether a text has characters that nobody sees. */
export function hasUnseen(text: string): boolean {
  return UNSEEN.test(text);
}

/**
 * Writes what is shown to those who approve it as {@link canonicalJson}.
 *
 * @throws {@link UnsupportedValueError} for a number that JSON does not have, and for hidden characters
 */
export function shownJson(value: CanonicalValue): string {
  return canonicalJson(value, requireSeen);
}

function requireSeen(text: string): void {
  if (!hasUnseen(text)) return;
  throw new UnsupportedValueError(
    'An operation that needs approval has an option with a hidden character, which nobody could approve.',
  );
}
