import { createHash } from 'node:crypto';

import { isWellFormed } from '../../encoding/text';

/** A tenant, a person, or whatever else has data keys of its own. */
export interface Scope {
  /** What it is, such as `tenant`. */
  readonly kind: string;
  /** Its id as canonical text; see {@link scopeId}. */
  readonly id: string;
}

/** Kind of a scope whose declaration names none. */
export const DEFAULT_KIND = 'default';
/** Name of the data key that wraps the keys of scopes. */
export const BRANCH_NAME = 'branch';

const OWN_BRANCH = `${BRANCH_NAME}:`;
const MAX_ID_BYTES = 256;
const UUID = /^\{?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})\}?$/i;

/**
 * Returns the id of a scope as canonical text, the same for each form in which a driver or a caller has it:
 * 42, 42n and '42' are one scope, and so is a UUID however it is written.
 *
 * @returns undefined for anything that is no id: another type, an empty text, one of over 256 bytes, a
 * number that is not a safe integer
 */
export function scopeId(value: unknown): string | undefined {
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') return Number.isSafeInteger(value) ? String(value) : undefined;
  if (typeof value !== 'string' || value === '' || !isWellFormed(value)) return undefined;
  const uuid = UUID.exec(value);
  if (uuid !== null) return uuid.slice(1).join('-').toLowerCase();
  return Buffer.byteLength(value) <= MAX_ID_BYTES ? value : undefined;
}

/** Returns a text that is unique to a scope. */
export function scopeSlot({ kind, id }: Scope): string {
  return `${kind}\0${id}`;
}

/** Returns the name of the branch key of a scope that has a KMS of its own. */
export function ownBranchName(scope: Scope): string {
  return OWN_BRANCH + createHash('sha256').update(scopeSlot(scope)).digest('hex').slice(0, 32);
}

/** Whether a data key wraps the keys of scopes rather than values. */
export function isBranchName(name: string): boolean {
  return name === BRANCH_NAME || isOwnBranchName(name);
}

/** Whether a data key is the branch of one scope, under the KMS of that scope alone. */
export function isOwnBranchName(name: string): boolean {
  return name.startsWith(OWN_BRANCH);
}
