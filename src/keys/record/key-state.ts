/**
 * The states of a key, after NIST SP 800-57 part 1 rev. 5, section 7: only an `active` key protects new
 * data; the others still decrypt what they protected, except for a `destroyed` one.
 */
export type KeyState =
  'preActive' | 'active' | 'suspended' | 'deactivated' | 'compromised' | 'destroyed';

/** The rules of one state. */
interface StateRule {
  /** Whether values may be decrypted. */
  readonly reads: boolean;
  /** Keys of a higher rank do less. */
  readonly rank: number;
  /** The states that may follow. */
  readonly next: readonly KeyState[];
}

/**
 * The states and their transitions. Narrower than the standard in one point: an active key cannot be
 * destroyed, since that would leave its name without a key to write with.
 */
export const KEY_STATES: Readonly<Record<KeyState, StateRule>> = Object.freeze({
  // Reads, since another process may have activated it and written a moment ago.
  preActive: { reads: true, rank: 0, next: ['active', 'compromised', 'destroyed'] },
  active: { reads: true, rank: 1, next: ['suspended', 'deactivated', 'compromised'] },
  // Reads too, since it is not known to be compromised: an investigation must not be an outage.
  suspended: {
    reads: true,
    rank: 2,
    next: ['active', 'deactivated', 'compromised', 'destroyed'],
  },
  deactivated: { reads: true, rank: 3, next: ['compromised', 'destroyed'] },
  compromised: { reads: true, rank: 4, next: ['destroyed'] },
  destroyed: { reads: false, rank: 5, next: [] },
});

/** The states in which a key still decrypts: all but the last. */
export const READABLE_STATES: readonly KeyState[] = Object.freeze(
  (Object.keys(KEY_STATES) as KeyState[]).filter((state) => KEY_STATES[state].reads),
);

/** Whether a key in this state decrypts. Never in a state that this version does not know. */
export function isReadable(state: KeyState): boolean {
  return isKnownState(state) && KEY_STATES[state].reads;
}

/** Whether this version knows a state. The key table may hold any text. */
export function isKnownState(state: string): state is KeyState {
  return Object.hasOwn(KEY_STATES, state);
}

/** How much a key is restricted by its state; a state that this version does not know restricts nothing. */
export function restrictionRank({ state }: { readonly state: KeyState }): number {
  return isKnownState(state) ? KEY_STATES[state].rank : 0;
}

/** Whether a key in this state does no more than the other. */
export function isAtLeastAsRestricted(
  key: { readonly state: KeyState },
  other: { readonly state: KeyState },
): boolean {
  return restrictionRank(key) >= restrictionRank(other);
}

/** Describes a state in a message, so that arbitrary text from the table is shown as such. */
export function stateInWords(state: string): string {
  if (isKnownState(state)) return state;
  return state === '' ? 'in no state' : `in a state that this version does not know ("${state}")`;
}

/** The newest known state of a key, whatever its present row says. */
export interface KnownKey {
  readonly id: string;
  readonly epoch: number;
  readonly state: KeyState;
}
