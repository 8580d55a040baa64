import { createSecretKey } from 'node:crypto';

import { wipe } from '../../crypto/secret-bytes';
import { KeyUnwrapError } from '../../errors';
import type { KeyServices } from '../key-services';
import type { DataKey, IndexRoot } from '../key-source';
import { isMark, scopeOf } from '../record/scope-key-record';
import type { ScopeKeyRecord } from '../record/scope-key-record';
import { dataKey, indexRoot } from '../wrapping/unwrapped-key';

import { openScopeKey, scopeKeyTitle } from './sealed-scope-key';

/** A key of a scope, by what it is for. */
export type OpenedScopeKey = { readonly data: DataKey } | { readonly index: IndexRoot };

/**
 * Opens a key of a scope with its branch key.
 *
 * @throws {@link KeyUnwrapError} for a row that was edited, and for one that holds no key
 */
export function openedScopeKey(
  branch: DataKey,
  record: ScopeKeyRecord,
  { application, nonces }: Pick<KeyServices<unknown>, 'application' | 'nonces'>,
): OpenedScopeKey {
  const bytes = openScopeKey(branch, record, application);
  try {
    const { id, kind, purpose, version, suite } = record;
    if (purpose === 'index') return { index: indexRoot(id, createSecretKey(bytes)) };
    if (isMark(record) || suite === 'hmac-sha-256') throw encryptsNothing(record);
    const { isAuthenticated } = branch;
    const identity = { id, name: kind, version, suite, isAuthenticated, scope: scopeOf(record) };
    return { data: dataKey(identity, bytes, { uses: { pending: 0 }, nonces }) };
  } finally {
    wipe(bytes);
  }
}

/** Returns the error of a key or mark that encrypts no values. */
export function encryptsNothing(record: ScopeKeyRecord): KeyUnwrapError {
  return new KeyUnwrapError(`${scopeKeyTitle(record)} encrypts no values.`, { keyId: record.id });
}
