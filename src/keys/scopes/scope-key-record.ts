import type { KeySuite } from '../record/key-record';

import type { Scope } from './scope';

/** The use of a scope's key: its values, its blind-index tokens, or none: a legal hold is only a mark. */
export type ScopeKeyPurpose = 'data' | 'index' | 'hold';

/**
 * `deactivated` keys decrypt only. The keys of a scope that is to be erased are `erasing`, which lets its
 * rows be read and nothing be written, and then `erased`: a tombstone without a key.
 */
export type ScopeKeyState = 'active' | 'deactivated' | 'erasing' | 'erased';

/** One row of the table of scope keys. Holds the key only as a branch key has sealed it. */
export interface ScopeKeyRecord {
  /** Random, 16 lower-case hexadecimal digits; no data key has the same. */
  readonly id: string;
  readonly kind: string;
  /** {@link Scope.id} */
  readonly scope: string;
  readonly purpose: ScopeKeyPurpose;
  /** Counts from 1 within kind, scope and purpose. */
  readonly version: number;
  readonly state: ScopeKeyState;
  readonly suite: KeySuite;
  /** Id of the branch key, a data key. */
  readonly branchId: string;
  /** When it got its state, by the clock of the database; a whole second. */
  readonly since: Date;
  /** The key, sealed with all other fields as associated data; without a key for a mark or a tombstone. */
  readonly sealed: Uint8Array;
}

/** Returns the scope of a key. */
export function scopeOf({ kind, scope }: Pick<ScopeKeyRecord, 'kind' | 'scope'>): Scope {
  return { kind, id: scope };
}
