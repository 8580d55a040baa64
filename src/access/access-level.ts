import type { Actor } from '../audit/actor';

/** What an actor may do; each level includes those below. */
export type AccessLevel =
  /** See what there is: keys, status, the audit log. */
  | 0
  /** Use keys: encrypt, decrypt, look up, sign. */
  | 1
  /** Manage them: rotate, rewrap, suspend, runs over rows. */
  | 2
  /** Revoke, destroy, erase, back up, restore. */
  | 3
  /** Administer: turn rows back into cleartext, accept an older key table. */
  | 4;

/** Maps actors to levels. */
export interface AccessOptions {
  /**
   * Returns the level of an actor, by its roles for instance; `undefined` is work outside of {@link runAs}. The
   * command line runs as `{ id, roles: ['command-line'] }`. Called for each encrypted column
   * of a statement, so it should only look something up in memory. Not asynchronous.
   */
  readonly levelOf: (actor: Actor | undefined) => AccessLevel;
}

/** The level that each operation takes. */
export const LEVELS = {
  use: 1,
  sign: 1,
  rotate: 2,
  rewrap: 2,
  suspend: 2,
  resume: 2,
  maintain: 2,
  'access list': 2,
  'data encrypt': 2,
  'data reencrypt': 2,
  'data reindex': 2,
  'data verify': 2,
  revoke: 3,
  destroy: 3,
  adopt: 3,
  backup: 3,
  restore: 3,
  drill: 3,
  shred: 3,
  cancelShred: 3,
  hold: 3,
  release: 3,
  incident: 3,
  acknowledge: 2,
  'data decrypt': 4,
  acceptEpoch: 4,
  approvals: 4,
  // The signature says who approves.
  approve: 0,
} as const satisfies Readonly<Record<string, AccessLevel>>;

/** An operation that takes a level. */
export type ControlledOperation = keyof typeof LEVELS;

/** An operation on keys, or over rows. */
export type ManagedOperation = Exclude<ControlledOperation, 'use'>;

export function isLevel(value: unknown): value is AccessLevel {
  return value === 0 || value === 1 || value === 2 || value === 3 || value === 4;
}
