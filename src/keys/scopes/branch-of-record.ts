import { KeyNotFoundError, KeyUnwrapError, OwnBranchNotFoundError } from '../../errors';
import { isDataKeyId, keyPrefix } from '../../format/data-key-id';
import type { KeyRing } from '../cache/key-ring';
import type { DataKey } from '../key-source';
import { isOwnBranchName } from '../record/scope';
import { isMark } from '../record/scope-key-record';
import type { ScopeKeyRecord } from '../record/scope-key-record';

import { scopeKeyTitle } from './sealed-scope-key';

/**
 * Returns the branch key of a record, which must have been loaded.
 *
 * @param name - that of the branch key of the record's scope.
 * @throws {@link KeyUnwrapError} for a row that names none, and whatever the branch key fails with
 */
export function branchOfRecord<C>(
  ring: Pick<KeyRing<C>, 'keyByPrefix'>,
  record: ScopeKeyRecord,
  name: string,
): DataKey {
  const { branchId } = record;
  if (!isDataKeyId(branchId)) throw namesNone(record);
  try {
    return ring.keyByPrefix(keyPrefix(branchId));
  } catch (error) {
    const isOwn = isOwnBranchName(name) && !isMark(record);
    if (isOwn && error instanceof KeyNotFoundError) throw ownBranchLost(record, error);
    throw error;
  }
}

function namesNone(record: ScopeKeyRecord): KeyUnwrapError {
  return new KeyUnwrapError(
    `${scopeKeyTitle(record)}: its row names no branch key. Restore the row from a backup of the database.`,
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
