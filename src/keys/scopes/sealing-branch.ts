import {
  KeyNotFoundError,
  KeyUnwrapError,
  OwnBranchNotFoundError,
  UnauthenticatedKeyError,
} from '../../errors';
import { isDataKeyId, keyPrefix } from '../../format/data-key-id';
import type { DataKey } from '../key-source';

import { BRANCH_NAME, isOwnBranchName, ownBranchName } from '../record/scope';
import type { Scope } from '../record/scope';
import { isErased, isMark, scopeOf } from '../record/scope-key-record';
import type { ScopeKeyRecord } from '../record/scope-key-record';
import { requireReadable, scopeKeyTitle } from './sealed-scope-key';

/** Where branch keys are found. */
export interface BranchKeys {
  readonly keyByPrefix: (prefix: string) => DataKey;
  /** Returns the name of the branch key of a scope. Throws a `ConfigurationError` if its KMS is not known. */
  readonly nameOf: (scope: Scope) => string;
  /** The same, or undefined where that throws. */
  readonly nameIfKnown: (scope: Scope) => string | undefined;
}

/**
 * Returns the branch key that a record names, to read with it; it must have been loaded. Keys are sealed by the
 * common branch or by the own one of their scope, marks by the common branch. The KMS vouches for the name of an
 * authenticated key.
 *
 * @throws {@link KeyUnwrapError} for any other data key, and whatever the branch key fails with
 */
export function sealingBranch(keys: BranchKeys, record: ScopeKeyRecord): DataKey {
  requireReadable(record);
  const { branchId } = record;
  // Nothing is read for a scope whose KMS is not known, though its keys may be under the common one.
  if (!isMark(record)) keys.nameOf(scopeOf(record));
  if (!isDataKeyId(branchId)) throw noBranch(record, 'no branch key');
  const branch = keyNamed(keys, record, branchId);
  const isOwn = !isMark(record) && branch.name === ownBranchName(scopeOf(record));
  if (isOwn || branch.name === BRANCH_NAME) return branch;
  throw noBranch(record, `key ${branchId} ("${branch.name}"), which is no branch key of its scope`);
}

/**
 * {@link sealingBranch} unless it could have been made without the KMS, and so all that it has sealed: nothing may
 * be protected with that.
 *
 * @throws {@link UnauthenticatedKeyError}
 */
export function authenticatedBranch(keys: BranchKeys, record: ScopeKeyRecord): DataKey {
  const branch = sealingBranch(keys, record);
  if (branch.isAuthenticated) return branch;
  throw new UnauthenticatedKeyError(
    `${scopeKeyTitle(record)} is under the branch key ${branch.id}, which is not authenticated: who can write to the ` +
      'tables of keys and has the public key of its KMS could have made both. If the branch key is yours, run: ' +
      `field-encryption keys adopt ${branch.id}`,
    { keyId: branch.id },
  );
}

/** Returns the prefixes of the branch keys that are needed to open some records. */
export function branchPrefixes(records: readonly ScopeKeyRecord[]): string[] {
  return records
    .filter((record) => !isErased(record))
    .map(({ branchId }) => branchId)
    .filter(isDataKeyId)
    .map((id) => keyPrefix(id));
}

function keyNamed(keys: BranchKeys, record: ScopeKeyRecord, branchId: string): DataKey {
  try {
    return keys.keyByPrefix(keyPrefix(branchId));
  } catch (error) {
    const isOwn = isOwnBranchName(keys.nameOf(scopeOf(record))) && !isMark(record);
    if (isOwn && error instanceof KeyNotFoundError) throw ownBranchLost(record, error);
    throw error;
  }
}

function noBranch(record: ScopeKeyRecord, named: string): KeyUnwrapError {
  return new KeyUnwrapError(
    `${scopeKeyTitle(record)}: its row names ${named}. Restore the row from a backup of the database.`,
    { keyId: record.id },
  );
}

function ownBranchLost({ kind, branchId }: ScopeKeyRecord, cause: Error): KeyNotFoundError {
  return new OwnBranchNotFoundError(
    `branch key ${branchId} of a ${kind} with a KMS of its own is not in the key table. No backup of keys holds it: ` +
      'restore its row from a backup of the database.',
    { keyId: branchId, cause },
  );
}
