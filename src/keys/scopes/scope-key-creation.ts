import { randomFillSync } from 'node:crypto';

import type { AuditEvent, RecordEvents } from '../../audit/audit-entry';
import { AEAD_KEY_BYTES } from '../../crypto/aead';
import { wipe } from '../../crypto/secret-bytes';
import { newDataKeyId } from '../../format/data-key-id';
import type { KeyServices } from '../key-services';
import { wholeSecond } from '../record/key-record';
import type { ScopeKeyRecord, ScopeKeySuite } from '../record/scope-key-record';

import { batchOf } from './recorded-change';
import type { ScopeBranches } from './scope-branches';
import type { ScopeKeyStore } from './scope-key-store';
import { sealScopeKey } from './sealed-scope-key';
import { slotOfKey } from './wanted-key';
import type { WantedKey } from './wanted-key';

/** Keys that were to be created. */
export interface CreatedScopeKeys {
  readonly ids: readonly string[];
  /** See `InsertedScopeKeys`. */
  readonly taken: readonly ScopeKeyRecord[];
}

/** Ids of keys that were created in a transaction of a caller, and whether they are in the audit log. */
type CreatedKeys = Map<string, { isRecorded: boolean }>;

/**
 * The creation of keys of scopes, which any number of processes may attempt at once. They are recorded in the audit
 * log in the same transaction; in one of a caller, before it commits.
 */
export class ScopeKeyCreation<C> {
  readonly #parts: {
    readonly services: KeyServices<C>;
    readonly store: ScopeKeyStore<C>;
    readonly branches: ScopeBranches<C>;
  };
  /** Those of transactions of callers whose end was not seen yet. */
  readonly #open: CreatedKeys = new Map();
  /** The same by the connection, an object. */
  readonly #byConnection = new WeakMap<C & object, CreatedKeys>();

  constructor(parts: {
    readonly services: KeyServices<C>;
    readonly store: ScopeKeyStore<C>;
    readonly branches: ScopeBranches<C>;
  }) {
    this.#parts = parts;
  }

  /**
   * Inserts keys, except where another process was first.
   *
   * @throws what the audit log refuses the entry with, and then there are no keys
   */
  async create(wanted: readonly WantedKey[], connection?: C): Promise<CreatedScopeKeys> {
    const { services, store } = this.#parts;
    const record = await this.#readyToRecord(connection);
    const since = wholeSecond(await services.store.now(connection));
    // In one order, so that processes that create the same keys wait for one another in turn.
    const records = [...wanted].sort(inOrder).map((key) => this.#newKey(key, since));
    const ids = records.map(({ id }) => id);
    const { isDurable, taken } = await services.loading.run(() =>
      store.insertMissing(records, connection, (transaction) =>
        this.#recordFound(ids, transaction, record),
      ),
    );
    if (!isDurable) this.#noteOpen(ids, connection as C & object);
    return { ids, taken };
  }

  /** Returns the ids of those of some keys that this process has created and that may be rolled back. */
  async vanishing(
    records: readonly ScopeKeyRecord[],
    connection: C | undefined,
  ): Promise<ReadonlySet<string>> {
    const ids = records.map(({ id }) => id).filter((id) => this.#open.has(id));
    const mayRollBack = ids.length > 0 && (await this.#parts.store.mayRollBack(connection));
    return new Set(mayRollBack ? ids : []);
  }

  /** Forgets those of some created keys in whose place others were found, which another process has created. */
  forget(created: readonly string[], found: readonly ScopeKeyRecord[]): void {
    const ids = new Set(found.map(({ id }) => id));
    for (const id of created) if (!ids.has(id)) this.#open.delete(id);
  }

  /** Whether keys were created in the transaction of a connection that are not recorded yet. */
  hasToRecord(connection: C & object): boolean {
    const created = [...(this.#byConnection.get(connection) ?? [])];
    return created.some(([, key]) => !key.isRecorded);
  }

  /** Records the keys that were created in the transaction of a connection, as its last step before it commits. */
  async recordWithin(connection: C & object): Promise<void> {
    const created = this.#byConnection.get(connection) ?? new Map<string, never>();
    // Some may have been rolled back with a part of the transaction.
    const record = await this.#readyToRecord(connection);
    await this.#recordFound([...created.keys()], connection, record);
    for (const key of created.values()) key.isRecorded = true;
  }

  /** Forgets what was created in the transaction of a connection, which has ended. */
  end(connection: C & object): void {
    for (const id of this.#byConnection.get(connection)?.keys() ?? []) this.#open.delete(id);
    this.#byConnection.delete(connection);
  }

  /** Records those of some committed keys whose transaction ended unseen, as one of plain statements does. */
  async recordLate(records: readonly Pick<ScopeKeyRecord, 'id'>[]): Promise<void> {
    const ended = records.filter(({ id }) => this.#open.has(id));
    const left = ended.filter(({ id }) => this.#open.get(id)?.isRecorded === false);
    for (const { id } of ended) this.#open.delete(id);
    if (left.length > 0) await this.#parts.services.audit?.note(creationOf(left));
  }

  /** {@link ScopeKeyCreation.recordLate} for all that were committed. */
  async recordAllLate(): Promise<void> {
    const ids = [...this.#open.keys()];
    if (ids.length === 0 || (await this.#parts.store.mayRollBack())) return;
    await this.recordLate(await this.#found(ids));
  }

  #noteOpen(ids: readonly string[], connection: C & object): void {
    const created =
      this.#byConnection.get(connection) ?? new Map<string, { isRecorded: boolean }>();
    this.#byConnection.set(connection, created);
    for (const id of ids) {
      const key = { isRecorded: false };
      created.set(id, key);
      this.#open.set(id, key);
    }
  }

  async #readyToRecord(connection?: C): Promise<RecordEvents<C>> {
    const { audit } = this.#parts.services;
    if (audit === undefined) return () => Promise.resolve();
    try {
      return await audit.readyToRecord(connection);
    } catch (failure) {
      // The first key of the log is not created within a transaction, but beside it, for the next try.
      if (connection !== undefined) void audit.readyToRecord().catch(() => undefined);
      throw failure;
    }
  }

  async #recordFound(
    ids: readonly string[],
    transaction: C,
    record: RecordEvents<C>,
  ): Promise<void> {
    const created = await this.#found(ids, transaction);
    if (created.length > 0) await record([creationOf(created)], transaction);
  }

  /** Returns those of some keys that are in the table: in the place of others, another process was first. */
  async #found(ids: readonly string[], connection?: C): Promise<ScopeKeyRecord[]> {
    const wanted = new Set(ids);
    const records = await this.#parts.store.findByIds(ids, connection);
    return records.filter(({ id }) => wanted.has(id));
  }

  #newKey({ scope, purpose }: WantedKey, since: Date): ScopeKeyRecord {
    const { branches, services } = this.#parts;
    const suite: ScopeKeySuite = purpose === 'data' ? services.suite : 'hmac-sha-256';
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
}

/** Returns what is recorded of created keys. */
function creationOf(created: readonly Pick<ScopeKeyRecord, 'id'>[]): AuditEvent {
  return { operation: 'create', outcome: 'done', ...batchOf(created) };
}

function inOrder(a: WantedKey, b: WantedKey): number {
  return slotOfKey(a) < slotOfKey(b) ? -1 : 1;
}
