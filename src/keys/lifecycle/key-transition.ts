import { KeyStateError } from '../../errors';
import { keyTitle } from '../record/key-record';
import type { KeyRecord } from '../record/key-record';
import { isKnownState, KEY_STATES, stateInWords } from '../record/key-state';
import type { KeyState } from '../record/key-state';

/** @throws {@link KeyStateError} where the table of states has no such transition */
export function requireTransition(
  record: Pick<KeyRecord, 'id' | 'name' | 'purpose' | 'version' | 'state'>,
  to: KeyState,
): void {
  const { id, state } = record;
  if (isKnownState(state) && KEY_STATES[state].next.includes(to)) return;
  const remedy = remedyFor(state);
  throw new KeyStateError(
    `${keyTitle(record)} is ${stateInWords(state)} and cannot become ${to}.${remedy}`,
    { keyId: id },
  );
}

function remedyFor(state: string): string {
  if (state === 'active') return ' Rotate the key first.';
  return isKnownState(state) ? '' : ' Restore its row from a backup, or revoke the key.';
}

/** What keeps the row of a key from being changed, beside another process that is always faster. */
export const IF_IT_GOES_ON =
  'If it goes on, look for a trigger on data_keys, and for two rows of one id: `field-encryption audit verify` and ' +
  '`field-encryption doctor` tell.';
