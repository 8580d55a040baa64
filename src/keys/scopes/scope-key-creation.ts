import { randomFillSync } from 'node:crypto';

import { AEAD_KEY_BYTES } from '../../crypto/aead';
import { wipe } from '../../crypto/secret-bytes';
import { newDataKeyId } from '../../format/data-key-id';
import type { KeyServices } from '../key-services';
import { wholeSecond } from '../record/key-record';
import type { KeySuite } from '../record/key-record';
import type { ScopeKeyRecord } from '../record/scope-key-record';

import { batchOf } from './recorded-change';
import type { ScopeBranches } from './scope-branches';
import type { ScopeKeyStore } from './scope-key-store';
import { sealScopeKey } from './sealed-scope-key';
import { slotOfKey } from './wanted-key';
import type { WantedKey } from './wanted-key';

/** The creation of keys of scopes, which any number of processes may attempt at once. */
export class ScopeKeyCreation<C> {
  readonly #parts: {
    readonly services: KeyServices<C>;
    readonly store: ScopeKeyStore<C>;
    readonly branches: ScopeBranches<C>;
  };
  /** Ids of keys that were created and are not in the audit log yet. */
  readonly #unrecorded = new Set<string>();

  constructor(parts: {
    readonly services: KeyServices<C>;
    readonly store: ScopeKeyStore<C>;
    readonly branches: ScopeBranches<C>;
  }) {
    this.#parts = parts;
  }

  /** Inserts keys, except where another process was first, and returns the ids of all. */
  async create(wanted: readonly WantedKey[], connection?: C): Promise<readonly string[]> {
    const { services, store } = this.#parts;
    const since = wholeSecond(await services.store.now(connection));
    // In one order, so that processes that create the same keys wait for one another in turn.
    const records = [...wanted].sort(inOrder).map((key) => this.#newKey(key, since));
    for (const { id } of records) this.#unrecorded.add(id);
    await services.loading.run(() => store.insertMissing(records, connection));
    return records.map(({ id }) => id);
  }

  /** Whether this process has created a key and not seen yet that it will stay. */
  isFresh({ id }: ScopeKeyRecord): boolean {
    return this.#unrecorded.has(id);
  }

  /** Forgets those of some created keys in whose place others were found, which another process has created. */
  forget(created: readonly string[], found: readonly ScopeKeyRecord[]): void {
    const ids = new Set(found.map(({ id }) => id));
    for (const id of created) if (!ids.has(id)) this.#unrecorded.delete(id);
  }

  #newKey({ scope, purpose }: WantedKey, since: Date): ScopeKeyRecord {
    const { branches, services } = this.#parts;
    const suite: KeySuite = purpose === 'data' ? services.suite : 'hmac-sha-256';
    const bytes = randomFillSync(Buffer.allocUnsafeSlow(AEAD_KEY_BYTES));
    try {
      const fields = { kind: scope.kind, scope: scope.id, purpose, version: 1, suite, since };
      return sealScopeKey(
        branches.activeFor(scope),
        { ...fields, id: newDataKeyId(), state: 'active' },
        services.application,
        bytes,
      );
    } finally {
      wipe(bytes);
    }
  }

  /** Records those of some keys that this process has created in the audit log, in one entry. */
  async record(records: readonly ScopeKeyRecord[]): Promise<void> {
    const created = records.filter((record) => this.isFresh(record));
    if (created.length === 0) return;
    const { audit } = this.#parts.services;
    await audit?.record({ operation: 'create', outcome: 'done', ...batchOf(created) });
    for (const { id } of created) this.#unrecorded.delete(id);
  }
}

function inOrder(a: WantedKey, b: WantedKey): number {
  return slotOfKey(a) < slotOfKey(b) ? -1 : 1;
}
