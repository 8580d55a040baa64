import type { DataKey } from '../keys/key-source';

import { notBound, notScoped } from './field-errors';
import type { FieldPolicy } from './field-policy';

/**
 * Refuses values from before a field had keys of scopes, or was bound to its rows, unless they may be left.
 *
 * @param isUnbound - whether a value is not bound to its row, and has one.
 * @throws {@link DecryptionError}
 */
export function requireNotOlder(policy: FieldPolicy, key: DataKey, isUnbound: boolean): void {
  const { isScoped, readsUnbound, readsUnscoped } = policy;
  if (isScoped && !readsUnscoped && key.scope === undefined) throw notScoped(policy, key.id);
  if (isUnbound && !readsUnbound) throw notBound(policy, key.id);
}
