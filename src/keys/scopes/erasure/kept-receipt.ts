import type { KeyServices } from '../../key-services';
import type { ScopeKeyRecord } from '../../record/scope-key-record';
import type { KeysOfScopes } from '../keys-of-scopes';
import type { ScopeKeyChange } from '../scope-key-store';
import { sealScopeKey } from '../sealed-scope-key';

import { isReceipt } from './erasure-receipt';
import type { ErasureReceipt } from './erasure-receipt';

/** Returns the change that seals the receipt of an erasure in its mark, in place of the time from which it was possible. */
export function withReceipt<C>(
  { application }: KeyServices<C>,
  { branches }: KeysOfScopes<C>,
  mark: ScopeKeyRecord,
  receipt: ErasureReceipt,
): ScopeKeyChange {
  const content = Buffer.from(JSON.stringify(receipt));
  return { expected: mark, record: sealScopeKey(branches.common, mark, application, content) };
}

/**
 * Returns the receipt that the mark of an erasure holds; undefined for one of an earlier version of this library.
 *
 * @throws {@link KeyUnwrapError} for a mark that was edited
 */
export function receiptIn<C>(
  { ring }: Pick<KeysOfScopes<C>, 'ring'>,
  mark: ScopeKeyRecord,
): ErasureReceipt | undefined {
  const content = Buffer.from(ring.proveMark(mark)).toString('utf8');
  if (!content.startsWith('{')) return undefined;
  const receipt: unknown = JSON.parse(content);
  return isReceipt(receipt) ? receipt : undefined;
}
