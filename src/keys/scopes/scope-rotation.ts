import { randomFillSync } from 'node:crypto';

import { AEAD_KEY_BYTES } from '../../crypto/aead';
import { wipe } from '../../crypto/secret-bytes';
import { newDataKeyId } from '../../format/data-key-id';
import type { KeyServices } from '../key-services';
import { wholeSecond } from '../record/key-record';

import type { KeysOfScopes } from './keys-of-scopes';
import type { Scope } from '../record/scope';
import { applyRecorded } from './recorded-change';
import { changedMeanwhile } from './erasure/scope-marks';
import { sealScopeKey } from './sealed-scope-key';

/**
 * Gives a scope a new data key, under the branch key of its present KMS. The former one decrypts only, until
 * its rows are re-encrypted.
 *
 * @returns its id.
 * @throws {@link ErasedError}, {@link KeyStateError}, {@link KmsUnavailableError}
 */
export async function rotateScope<C>(
  services: KeyServices<C>,
  scopes: KeysOfScopes<C>,
  scope: Scope,
): Promise<string> {
  const { application, store, suite } = services;
  await scopes.active.prepare([scope], { index: false });
  // Throws for a scope that is erased, or whose KMS is away.
  const { id: activeId } = scopes.active.dataKey(scope);
  const [expected] = await scopes.store.findByIds([activeId]);
  if (expected?.state !== 'active') throw changedMeanwhile(scope);
  const since = wholeSecond(await store.now());
  const branch = scopes.branches.activeFor(scope);
  const bytes = randomFillSync(Buffer.allocUnsafeSlow(AEAD_KEY_BYTES));
  try {
    const { kind, scope: id, purpose, version } = expected;
    const fields = { kind, scope: id, purpose, version: version + 1, suite, since };
    const next = sealScopeKey(
      branch,
      { ...fields, id: newDataKeyId(), state: 'active' },
      application,
      bytes,
    );
    const former = scopes.ring.resealed(expected, { state: 'deactivated', since });
    const done = await applyRecorded(services, scopes.store, {
      changes: [{ expected, record: former }],
      inserted: [next],
      event: () => ({ operation: 'rotate', outcome: 'done', reference: next.id }),
    });
    if (!done) throw changedMeanwhile(scope);
    scopes.active.clear();
    return next.id;
  } finally {
    wipe(bytes);
  }
}
