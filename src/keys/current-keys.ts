import { ConfigurationError, KeyStateError } from '../errors';
import { ActiveKeys } from './active-keys';
import type { ActiveKey } from './active-keys';
import { BackgroundRefresh } from './background-refresh';
import type { DataKey } from './data-key';
import type { KeyPurpose, KeyRecord } from './key-record';
import { soleActive } from './key-versions';
import { CONCURRENT_UNWRAPS, type KeyServices } from './key-services';
import type { IndexRoot, IndexRoots } from './key-source';
import { INDEX_ROOT_NAME, otherRoots } from './index-roots';
import { keyTableMissing } from './key-table';
import type { CreatedKey } from './key-wrapper';
import {
  closedMeanwhile,
  loadFailed,
  notConfirmedInTime,
  oldTransaction,
  typedFailure,
} from './load-failure';
import { settleAll } from './settle-all';
import { SingleFlight } from './single-flight';
import { UsedKeys } from './used-keys';
import type { KeyAges } from './used-keys';

/** Which active keys are wanted. */
interface Wanted {
  readonly data: readonly string[];
  readonly index: readonly string[];
}

/** When what was read of keys was true at the earliest. */
export interface Confirmation {
  /** On the services' clock. */
  readonly confirmedAt: number;
  /** In milliseconds since 1970, by the clock of the database. */
  readonly databaseTime: number;
}

/** One go at confirming keys. */
interface Attempt extends Confirmation {
  /** Which life of the manager it began in: what outlives a close is dropped. */
  readonly generation: number;
}

/** The keys that new values and tokens are made with: loaded, created, kept fresh. */
export class CurrentKeys<C> {
  readonly #services: KeyServices<C>;
  readonly #onDataKey: (key: DataKey, confirmedAt: number) => void;
  readonly #dataKeys = new ActiveKeys<DataKey>();
  readonly #indexRoots = new ActiveKeys<IndexRoots>();
  readonly #failures = new Map<string, unknown>();
  readonly #confirmations = new SingleFlight<void>();
  readonly #creations = new SingleFlight<CreatedKey>();
  /** Where it is noted which keys are used, while somebody wants to know. */
  #used: UsedKeys | undefined;
  readonly #refresh: BackgroundRefresh;
  readonly #ages: KeyAges;
  #generation = 0;

  /** @param onDataKey - told of every data key that was confirmed, on the services' clock. */
  constructor(services: KeyServices<C>, onDataKey: (key: DataKey, confirmedAt: number) => void) {
    this.#services = services;
    this.#onDataKey = onDataKey;
    this.#refresh = new BackgroundRefresh(services.clock);
    this.#ages = {
      dataKeys: this.#dataKeys,
      indexRoots: this.#indexRoots,
      maxAgeMs: services.policy.maxAgeMs,
      clock: services.exactClock,
    };
  }

  /** See `KeyManager.prepare`. Called for every write: the fresh case allocates nothing. */
  prepare(names: readonly string[], index: boolean, connection?: C): Promise<void> | undefined {
    const { clock, policy } = this.#services;
    const now = clock();
    let oldest = index ? this.#indexRoots.age(INDEX_ROOT_NAME, now) : 0;
    for (const name of names) oldest = Math.max(oldest, this.#dataKeys.age(name, now));
    if (oldest < policy.ttlMs) return undefined;

    const wanted = this.#due(names, index, now);
    if (oldest < policy.maxAgeMs) {
      this.#refresh.start(() => this.#confirm(wanted));
      return undefined;
    }
    // A caller inside a transaction reads through its own connection and waits for nobody else's:
    // theirs may be queued behind the very connection that it holds.
    if (connection !== undefined) return this.#confirmWithin(wanted, connection);
    return this.#confirmations.run(JSON.stringify(wanted), () => this.#confirm(wanted));
  }

  /** Asks the table and the KMS for these keys whatever their age in memory. */
  confirm(names: readonly string[], index: boolean): Promise<void> {
    return this.#confirm({ data: names, index: index ? [INDEX_ROOT_NAME] : [] });
  }

  dataKey(name: string): DataKey {
    const held = this.#usable('data', name, this.#dataKeys);
    this.#used?.addDataKey(held);
    return held.key;
  }

  indexRoots(): IndexRoots {
    const held = this.#usable('index', INDEX_ROOT_NAME, this.#indexRoots);
    this.#used?.addIndexRoots(held);
    return held.key;
  }

  /** See `KeyManager.noting`. */
  noting<T>(work: () => T): readonly [T, UsedKeys] {
    const outer = this.#used;
    const used = new UsedKeys(this.#ages);
    this.#used = used;
    try {
      return [work(), used];
    } finally {
      this.#used = outer;
      outer?.addAll(used);
    }
  }

  /**
   * Takes over a key that is committed, as the active one.
   *
   * @param others - the roots beside an index root, of which stored tokens may be.
   */
  accept(
    { record, unwrapped }: CreatedKey,
    { confirmedAt, databaseTime }: Confirmation,
    others: readonly IndexRoot[] = [],
  ): void {
    const { id, name, version } = record;
    const usableUntil = databaseTime + this.#services.policy.maxAgeMs;
    if (unwrapped.purpose === 'index') {
      const key: IndexRoots = [unwrapped.key, ...others];
      this.#indexRoots.accept({ id, name, version, key, confirmedAt, usableUntil });
    } else if (unwrapped.purpose === 'data') {
      const { key } = unwrapped;
      this.#dataKeys.accept({ id, name, version, key, confirmedAt, usableUntil });
      this.#onDataKey(key, confirmedAt);
    }
    this.#failures.delete(slot(record.purpose, name));
  }

  /** {@link CurrentKeys.accept} for a key that this process has just made active: its row says when. */
  acceptActivated(created: CreatedKey): void {
    const { activatedAt, createdAt } = created.record;
    // The date is cut to the second; what waits for processes to notice allows for that.
    const databaseTime = (activatedAt ?? createdAt).getTime() + 1000;
    this.accept(created, { confirmedAt: this.#services.clock(), databaseTime });
  }

  /** Uses no key of this name until one is confirmed, and says why. */
  withdraw(purpose: KeyPurpose, name: string, reason: Error): void {
    (purpose === 'data' ? this.#dataKeys : this.#indexRoots).drop(name);
    this.#failures.set(slot(purpose, name), reason);
  }

  /** Forgets every key; what is being loaded is not taken over. */
  clear(): void {
    this.#generation += 1;
    this.#dataKeys.clear();
    this.#indexRoots.clear();
    this.#failures.clear();
    this.#confirmations.clear();
    this.#creations.clear();
    this.#refresh.reset();
  }

  /** On a caller's connection, whose transaction a first key cannot be made in: it is made beside it, for the next try. */
  async #confirmWithin(wanted: Wanted, connection: C): Promise<void> {
    try {
      await this.#confirm(wanted, connection);
    } catch (failure) {
      if (failure instanceof KeyStateError && failure.retryable) {
        this.#refresh.start(() => this.#confirm(wanted));
      }
      throw failure;
    }
  }

  #due(names: readonly string[], index: boolean, now: number): Wanted {
    const { ttlMs } = this.#services.policy;
    const due = (keys: ActiveKeys<unknown>) => (name: string) => keys.age(name, now) >= ttlMs;
    return {
      data: [...new Set(names)].filter(due(this.#dataKeys)),
      index: index ? [INDEX_ROOT_NAME].filter(due(this.#indexRoots)) : [],
    };
  }

  async #confirm(wanted: Wanted, connection?: C): Promise<void> {
    const { clock, policy, table } = this.#services;
    const generation = this.#generation;
    const startedAt = clock();
    this.#dataKeys.dropConfirmedBy(startedAt - policy.maxAgeMs);
    this.#indexRoots.dropConfirmedBy(startedAt - policy.maxAgeMs);
    if (!(await table.exists(connection))) {
      this.#noteMissingTable(wanted);
      return;
    }
    const age = connection === undefined ? 0 : await this.#snapshotAge(wanted, connection);
    const databaseTime = (await this.#services.store.now(connection)).getTime() - age;
    const attempt = { confirmedAt: startedAt - age, databaseTime, generation };
    // Nobody waits for it: a caller may hold the only connection.
    void this.#services.uses.flush();

    // One after the other: they may share the caller's connection.
    await settleAll(['data', 'index'] as const, 1, (purpose) =>
      this.#confirmPurpose(purpose, wanted[purpose], attempt, connection),
    );
  }

  /** A transaction may see the key table as it was before a key was taken out of use. */
  async #snapshotAge({ data, index }: Wanted, connection: C): Promise<number> {
    const { policy, store } = this.#services;
    const age = await store.snapshotAge(connection);
    if (age < policy.maxAgeMs) return age;
    const failure = oldTransaction(policy.maxAgeMs);
    for (const name of data) this.#noteFailure('data', name, failure);
    for (const name of index) this.#noteFailure('index', name, failure);
    throw failure;
  }

  async #confirmPurpose(
    purpose: KeyPurpose,
    names: readonly string[],
    attempt: Attempt,
    connection?: C,
  ): Promise<void> {
    if (names.length === 0) return;
    const records = await this.#findCurrent(purpose, names, connection);
    const active = records.filter(({ state }) => state === 'active');
    const named = (name: string): KeyRecord[] => active.filter((record) => record.name === name);
    const [present, absent] = partition(names, (name) => named(name).length > 0);

    await settleAll([present, absent], 1, (group) =>
      settleAll(group, group === present ? CONCURRENT_UNWRAPS : 1, (name) =>
        this.#take(purpose, name, attempt, records, () =>
          this.#obtain(purpose, name, named(name), connection),
        ),
      ),
    );
    await this.#readAhead(
      records.filter((record) => record.purpose === 'data' && record.state === 'preActive'),
      attempt,
    );
  }

  /**
   * Takes in the announced data keys, so that what another process writes with them can be read from the
   * first moment. Nobody waits for one that fails: it is loaded again where a value needs it.
   */
  async #readAhead(records: readonly KeyRecord[], attempt: Attempt): Promise<void> {
    const { wrapper } = this.#services;
    await settleAll(records, CONCURRENT_UNWRAPS, async (record) => {
      const unwrapped = await wrapper.unwrap(record);
      const isOpen = attempt.generation === this.#generation;
      if (isOpen && unwrapped.purpose === 'data')
        this.#onDataKey(unwrapped.key, attempt.confirmedAt);
    }).catch(() => undefined);
  }

  async #findCurrent(
    purpose: KeyPurpose,
    names: readonly string[],
    connection?: C,
  ): Promise<KeyRecord[]> {
    try {
      return await this.#services.store.findCurrent(purpose, names, connection);
    } catch (failure) {
      for (const name of names) this.#noteFailure(purpose, name, failure);
      throw failure;
    }
  }

  async #obtain(
    purpose: KeyPurpose,
    name: string,
    records: readonly KeyRecord[],
    connection?: C,
  ): Promise<CreatedKey> {
    const record = soleActive(records);
    if (record === undefined) return this.#createFirst(purpose, name, connection);
    return { record, unwrapped: await this.#services.wrapper.unwrap(record) };
  }

  async #createFirst(purpose: KeyPurpose, name: string, connection?: C): Promise<CreatedKey> {
    // Who holds a connection must not wait for a creation that may wait for that very connection.
    const flight = connection === undefined ? slot(purpose, name) : `${slot(purpose, name)}, held`;
    try {
      return await this.#creations.run(flight, () =>
        this.#services.lifecycle.createFirst(purpose, name, connection),
      );
    } catch (failure) {
      // It was suspended: what is in memory is not for another minute's writes, as in an outage.
      if (failure instanceof KeyStateError && !failure.retryable) {
        this.withdraw(purpose, name, failure);
      }
      throw failure;
    }
  }

  async #take(
    purpose: KeyPurpose,
    name: string,
    { generation, ...confirmation }: Attempt,
    records: readonly KeyRecord[],
    obtain: () => Promise<CreatedKey>,
  ): Promise<void> {
    try {
      this.#requireOpen(generation);
      const created = await obtain();
      const others = await otherRoots(this.#services.wrapper, records);
      this.#requireOpen(generation);
      this.accept(created, confirmation, others);
    } catch (failure) {
      if (generation === this.#generation) this.#noteFailure(purpose, name, failure);
      throw failure;
    }
  }

  #requireOpen(generation: number): void {
    if (generation !== this.#generation) throw closedMeanwhile();
  }

  #noteMissingTable(wanted: Wanted): void {
    for (const name of wanted.data) this.#failures.set(slot('data', name), keyTableMissing());
    for (const name of wanted.index) this.#failures.set(slot('index', name), keyTableMissing());
  }

  #noteFailure(purpose: KeyPurpose, name: string, failure: unknown): void {
    this.#failures.set(slot(purpose, name), failure);
    this.#services.emit(loadFailed(purpose, { name }, failure));
  }

  #usable<T>(purpose: KeyPurpose, name: string, keys: ActiveKeys<T>): ActiveKey<T> {
    const { clock, policy } = this.#services;
    const held = keys.get(name);
    if (held !== undefined && clock() - held.confirmedAt < policy.maxAgeMs) return held;

    const label = purpose === 'data' ? `key "${name}"` : 'the blind-index root key';
    const failure = this.#failures.get(slot(purpose, name));
    if (failure !== undefined) throw typedFailure(label, failure);
    // Another statement may be about to have it confirmed again.
    if (keys.hasHeld(name)) throw notConfirmedInTime(label, policy.maxAgeMs);
    throw new ConfigurationError(
      `${label} is not in memory. Initialize the DataSource before its encrypted columns are used.`,
    );
  }
}

function slot(purpose: KeyPurpose, name: string): string {
  return `${purpose}:${name}`;
}

function partition<T>(items: readonly T[], test: (item: T) => boolean): [T[], T[]] {
  return [items.filter(test), items.filter((item) => !test(item))];
}
