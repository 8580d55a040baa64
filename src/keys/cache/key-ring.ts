import { BackgroundRefresh } from '../../async/background-refresh';
import { settleAll } from '../../async/settle-all';
import { SingleFlight } from '../../async/single-flight';
import { KeyNotFoundError, KeyStateError, KmsUnavailableError } from '../../errors';
import { isDataKeyId, keyIdOfPrefix, keyPrefix } from '../../format/data-key-id';
import type { KeyServices } from '../key-services';
import type { DataKey } from '../key-source';
import { keyTitle } from '../record/key-record';
import type { KeyRecord } from '../record/key-record';
import { isReadable, stateInWords } from '../record/key-state';
import { CONCURRENT_UNWRAPS } from '../wrapping/kms-client';

import { FailedKeys, loadFailed, typedFailure } from './failed-keys';
import { KeyCache } from './key-cache';
import { keyTableMissing } from './key-table';

const CAPACITY = 4096;

/** The data keys of every version by the prefix of their ciphertexts, for reading. */
export class KeyRing<C> {
  readonly #services: KeyServices<C>;
  readonly #cache = new KeyCache(CAPACITY);
  readonly #failed = new FailedKeys();
  readonly #loads = new SingleFlight<void>();
  readonly #refresh: BackgroundRefresh;

  constructor(services: KeyServices<C>) {
    this.#services = services;
    this.#refresh = new BackgroundRefresh(services.clock);
  }

  get size(): number {
    return this.#cache.size;
  }

  /** See `KeySource.keyByPrefix`. Called for every value. */
  keyByPrefix(prefix: string): DataKey {
    const { clock, policy } = this.#services;
    const key = this.#cache.getConfirmedAfter(prefix, clock() - policy.maxAgeMs);
    if (key !== undefined) return key;
    throw this.#whyNot(prefix);
  }

  /** See `KeyManager.missing`. */
  missing(prefixes: Iterable<string>): string[] {
    const { clock, policy } = this.#services;
    const now = clock();
    const missing: string[] = [];
    const due: string[] = [];
    for (const prefix of new Set(prefixes)) {
      const age = this.#cache.age(prefix, now);
      if (age >= policy.maxAgeMs) missing.push(prefix);
      else if (age >= policy.ttlMs) due.push(prefix);
    }
    if (due.length > 0) this.#refresh.start(() => this.#fetch(due));
    return missing.filter((prefix) => !this.#failed.hasJustFailed(prefix, now));
  }

  /** See `KeyManager.load`. */
  async load(prefixes: readonly string[], connection?: C): Promise<void> {
    const { loading } = this.#services;
    const missing = this.missing(prefixes);
    if (missing.length === 0) return;
    if (loading.isInside) {
      await loading.untilOutside();
      return this.load(missing, connection);
    }
    // A caller that holds a connection reads through it, for the reason given in `KeyPreparation.prepare`.
    if (connection !== undefined) {
      await loading.run(() => this.#load(missing, connection));
    } else {
      await this.#loads.run(missing.join(), () => loading.run(() => this.#load(missing)));
    }
  }

  /** Adds a key that was just confirmed as an active one. */
  add(key: DataKey, confirmedAt: number): void {
    this.#cache.add([key], confirmedAt);
    this.#failed.forget(key.prefix);
  }

  /** Forgets a key that was destroyed. */
  forget(id: string): void {
    if (isDataKeyId(id)) this.#cache.delete(keyPrefix(id));
  }

  /** Forgets every key. */
  clear(): void {
    this.#cache.clear();
    this.#failed.clear();
    this.#loads.clear();
    this.#refresh.reset();
  }

  async #load(prefixes: readonly string[], connection?: C): Promise<void> {
    const isOpen = this.#services.lifetime.current();
    const startedAt = this.#services.clock();
    const records = await this.#read(prefixes, connection);
    // While the rows were read, other callers may have loaded these keys, or failed to.
    const missing = new Set(this.missing(prefixes));
    const wanted = records?.filter(({ id }) => missing.has(keyPrefix(id)));
    // The failure of one key is remembered, and thrown to each caller that needs that key.
    const work = this.#unwrapAll([...missing], wanted, startedAt, isOpen).catch(() => undefined);
    await this.#services.wrapper
      .whileHeld(connection, work, wanted ?? [])
      .catch((failure: unknown) => {
        if (!isOpen()) return;
        const now = this.#services.clock();
        for (const prefix of this.missing(missing)) this.#failed.remember(prefix, failure, now);
      });
  }

  async #fetch(prefixes: readonly string[]): Promise<void> {
    const { clock, lifetime, loading } = this.#services;
    await loading.run(async () => {
      const isOpen = lifetime.current();
      const startedAt = clock();
      await this.#unwrapAll(prefixes, await this.#read(prefixes), startedAt, isOpen);
    });
  }

  /** Returns the records of these prefixes, or undefined without a key table. */
  async #read(prefixes: readonly string[], connection?: C): Promise<KeyRecord[] | undefined> {
    const { store, table } = this.#services;
    if (!(await table.isReady(connection))) return undefined;
    const ids = prefixes.flatMap((prefix) => keyIdOfPrefix(prefix) ?? []);
    return ids.length === 0 ? [] : store.findByIds(ids, connection);
  }

  async #unwrapAll(
    prefixes: readonly string[],
    records: readonly KeyRecord[] | undefined,
    startedAt: number,
    isOpen: () => boolean,
  ): Promise<void> {
    if (!isOpen()) return;
    const dataRecords = records?.filter((record) => record.purpose === 'data');
    this.#noteAbsent(prefixes, dataRecords);

    const keys: DataKey[] = [];
    try {
      await settleAll(dataRecords ?? [], CONCURRENT_UNWRAPS, async (record) => {
        keys.push(await this.#unwrap(record));
      });
    } finally {
      if (isOpen()) this.#keep(keys, startedAt);
    }
  }

  #keep(keys: readonly DataKey[], confirmedAt: number): void {
    this.#cache.dropConfirmedBy(this.#services.clock() - this.#services.policy.maxAgeMs);
    this.#cache.add(keys, confirmedAt);
    for (const key of keys) this.#failed.forget(key.prefix);
  }

  async #unwrap(record: KeyRecord): Promise<DataKey> {
    const { clock, emit, lifetime, retirement, wrapper } = this.#services;
    const prefix = keyPrefix(record.id);
    const isOpen = lifetime.current();
    try {
      if (!isReadable(record.state)) throw this.#refuse(record, prefix);
      const unwrapped = await wrapper.unwrapToRead(record);
      void retirement.seal(record, unwrapped.authenticateState);
      if (unwrapped.purpose === 'data') return unwrapped.key;
      throw notFound(record.id);
    } catch (failure) {
      if (isOpen()) {
        this.#failed.remember(prefix, failure, clock());
        emit(loadFailed('data', record, failure));
      }
      throw failure;
    }
  }

  #refuse(record: KeyRecord, prefix: string): KeyStateError {
    // It may have been readable until now, and its key be in memory.
    this.#cache.delete(prefix);
    const { id, state } = record;
    return new KeyStateError(
      `${keyTitle(record)} is ${stateInWords(state)}, cannot decrypt. ` +
        'Restore the key from a backup of the key table, or restore the rows.',
      { keyId: id },
    );
  }

  #noteAbsent(prefixes: readonly string[], records: readonly KeyRecord[] | undefined): void {
    const now = this.#services.clock();
    const present = new Set(records?.map((record) => keyPrefix(record.id)));
    for (const prefix of prefixes) {
      if (present.has(prefix)) continue;
      this.#cache.delete(prefix);
      const reason = records === undefined ? keyTableMissing() : notFound(keyIdOfPrefix(prefix));
      this.#failed.remember(prefix, reason, now);
    }
  }

  #whyNot(prefix: string): Error {
    const keyId = keyIdOfPrefix(prefix);
    const label = `key ${keyId ?? '(malformed id)'}`;
    const failure = this.#failed.error(prefix);
    if (failure !== undefined) return typedFailure(label, failure);
    return new KmsUnavailableError(
      `${label} is not in memory, or was not confirmed by the KMS within ` +
        `${String(this.#services.policy.maxAgeMs)} ms (keyCache.maxAgeMs). Load it and try again.`,
      keyId === undefined ? {} : { keyId },
    );
  }
}

function notFound(keyId: string | undefined): KeyNotFoundError {
  return new KeyNotFoundError(
    `key ${keyId ?? '(malformed id)'} is not in the key table. Restore its row from a backup, or ` +
      'check that this database and its rows belong together.',
    keyId === undefined ? {} : { keyId },
  );
}
