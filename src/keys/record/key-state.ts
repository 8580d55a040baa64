/**
 * Life of a key, after NIST SP 800-57 part 1 rev. 5, section 7: only an `active` key protects new
 * data; the others still read what they protected, but for a `destroyed` one, which does nothing.
 */
export type KeyState =
  'preActive' | 'active' | 'suspended' | 'deactivated' | 'compromised' | 'destroyed';

/** What a state allows. */
interface StateRule {
  /** Whether values may be decrypted. */
  readonly reads: boolean;
  /** The states that may follow. */
  readonly next: readonly KeyState[];
}

/**
 * The states and their transitions. Narrower than the standard in one point: an active key is not
 * destroyed, since that would leave its name without a key to write with.
 */
export const KEY_STATES: Readonly<Record<KeyState, StateRule>> = Object.freeze({
  // Read with it may be: another process may have activated it and written a moment ago.
  preActive: { reads: true, next: ['active', 'compromised', 'destroyed'] },
  active: { reads: true, next: ['suspended', 'deactivated', 'compromised'] },
  // Reads too, since it is not known to be compromised: an investigation must not be an outage.
  suspended: { reads: true, next: ['active', 'deactivated', 'compromised', 'destroyed'] },
  deactivated: { reads: true, next: ['compromised', 'destroyed'] },
  compromised: { reads: true, next: ['destroyed'] },
  destroyed: { reads: false, next: [] },
});

/** The states in which a key still does what it did: all but the last. */
export const READABLE_STATES: readonly KeyState[] = Object.freeze(
  (Object.keys(KEY_STATES) as KeyState[]).filter((state) => KEY_STATES[state].reads),
);

/** Whether a key in this state decrypts. A state that this version does not know does not. */
export function isReadable(state: KeyState): boolean {
  return isKnownState(state) && KEY_STATES[state].reads;
}

/** Whether this version knows a state; the key table may hold any text. */
export function isKnownState(state: string): state is KeyState {
  return Object.hasOwn(KEY_STATES, state);
}

/** A state in words: what somebody has written into the table must read as what it is. */
export function stateInWords(state: string): string {
  if (isKnownState(state)) return state;
  return state === '' ? 'in no state' : `in a state that this version does not know ("${state}")`;
}
