import { KeyStateError } from '../errors';
import type { KeyRecord } from './key-record';
import type { KeyState } from './key-state';
import { isKnownState, KEY_STATES, stateInWords } from './key-state';
import { keyTitle } from './key-title';

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
