import type { KeySuite } from './key-record';

import type { Scope } from './scope';

/**
 * The use of a scope's key: its values, or its blind-index tokens. Marks hold no key: that of an erasure, and
 * that of a legal hold, which forbids one.
 */
export type ScopeKeyPurpose = 'data' | 'index' | MarkPurpose;

/** Algorithm of a key of a scope, none of which signs. */
export type ScopeKeySuite = Exclude<KeySuite, 'ed25519'>;
export type MarkPurpose = 'erasure' | 'hold';

/**
 * `deactivated` keys decrypt only, and such marks are void. While the mark of an erasure is `active`, rows of
 * the scope can be read and nothing be written; once it is `erased`, so is every key of the scope. Those that
 * were `deactivated` stay so, without the key.
 */
export type ScopeKeyState = (typeof SCOPE_KEY_STATES)[number];
export const SCOPE_KEY_STATES = ['active', 'deactivated', 'erased'] as const;

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
  readonly suite: ScopeKeySuite;
  /** Id of the branch key, a data key. */
  readonly branchId: string;
  /** When it got its state, by the clock of the database; a whole second. */
  readonly since: Date;
  /**
   * The key, sealed with all other fields as associated data; for the mark of an erasure the time from which it
   * is possible, and later its receipt, for that of a hold nothing. Empty for an erased key, whose scope has a mark
   * that proves it.
   */
  readonly sealed: Uint8Array;
  /** Columns whose cells this library has not written as they are; none for a genuine record. */
  readonly unreadable?: readonly string[];
}

/** Returns the scope of a key. */
export function scopeOf({ kind, scope }: Pick<ScopeKeyRecord, 'kind' | 'scope'>): Scope {
  return { kind, id: scope };
}

/** Whether nothing is left of a key. */
export function isErased(record: ScopeKeyRecord): boolean {
  return !isMark(record) && record.sealed.length === 0 && record.unreadable === undefined;
}

/** Whether a record is a mark rather than a key. One of a made-up purpose is, and proves itself no more than others. */
export function isMark({ purpose }: Pick<ScopeKeyRecord, 'purpose'>): boolean {
  return purpose !== 'data' && purpose !== 'index';
}
