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

/**
 * Refuses a root of the blind indexes, which takes two steps to replace, and the key of the audit log. A key that
 * signs can be revoked, but not suspended: nothing waits for it that could not be signed later.
 *
 * @throws {@link KeyStateError}
 */
export function requireDataKey(
  { id, name, purpose }: Pick<KeyRecord, 'id' | 'name' | 'purpose'>,
  become: 'revoked' | 'suspended',
): void {
  if (purpose === 'audit') throw sealsTheLog(id);
  if (purpose === 'signing' && become === 'suspended') throw neverSuspended(id, name);
  if (purpose !== 'index') return;
  throw new KeyStateError(
    `key ${id} is a root of the blind indexes and cannot be ${become}. Rotate the index key, reindex, ` +
      'and destroy the old root.',
    { keyId: id },
  );
}

function neverSuspended(id: string, name: string): KeyStateError {
  return new KeyStateError(
    `key ${id} signs, and cannot be suspended. If somebody else may have it: field-encryption keys revoke ${id}. To ` +
      `replace it: field-encryption keys rotate --signing ${name}`,
    { keyId: id },
  );
}

/** For the key of the audit log, which is never taken out of use. */
export function sealsTheLog(id: string): KeyStateError {
  return new KeyStateError(
    `key ${id} seals the audit log, which could not be verified without it. It stays as it is.`,
    { keyId: id },
  );
}
