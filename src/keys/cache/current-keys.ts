import {
  ConfigurationError,
  FieldEncryptionError,
  KeyStateError,
  KeyUnwrapError,
  KmsUnavailableError,
} from '../../errors';
import { ActiveKeys } from './active-keys';
import type { ActiveKey } from './active-keys';
import { BackgroundRefresh } from '../../async/background-refresh';
import type { DataKey, IndexRoot, IndexRoots } from '../key-source';
import { StillLoadingError } from '../wrapping/kms-client';
import {
  FailedKeys,
  closedMeanwhile,
  loadFailed,
  notConfirmedInTime,
  oldTransaction,
  typedFailure,
} from './failed-keys';
import type { KeyPurpose, KeyRecord } from '../record/key-record';
import { soleActive, NoActiveKeyError } from '../record/key-versions';
import { CONCURRENT_UNWRAPS, type KeyServices } from '../key-services';
import { INDEX_ROOT_NAME, otherRoots } from './index-roots';
import { keyTableMissing } from './key-table';
import type { CreatedKey } from '../wrapping/key-wrapper';
import { settleAll } from '../../async/settle-all';
import { SingleFlight } from '../../async/single-flight';
import { UsedKeys } from './used-keys';
import type { KeyAges } from './used-keys';

/** Which active keys are wanted. */
interface Wanted {
  readonly data: readonly string[];
  readonly index: readonly string[];
}

/** How keys are confirmed. */
interface Confirming<C> {
  readonly connection?: C;
  /** Of keys that others confirm meanwhile, and that need not be confirmed again. Defaults to `ttlMs`. */
  readonly maxAgeMs?: number;
}

/** How an active key stands in memory. */
export interface KeyStanding {
  readonly name: string;
  readonly purpose: 'data' | 'index';
  /** `null` where none is in memory. */
  readonly version: number | null;
  /** Milliseconds until it is due to be asked for again. */
  readonly freshForMs: number;
  /** Milliseconds for which it can be used. */
  readonly usableForMs: number;
  /** What stood in the way when it was last asked for; undefined when nothing did. */
  readonly failure: unknown;
  /** Whether an operator has taken it out of use: nothing is encrypted with it, and all can be read. */
  readonly isStopped: boolean;
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
  /** A key confirmed after this need not be confirmed again. */
  readonly confirmedAfter: number;
}

/** A key that is to be confirmed, with its rows as they were read. */
interface DueKey {
  readonly purpose: 'data' | 'index';
  readonly name: string;
  readonly records: readonly KeyRecord[];
  readonly active: readonly KeyRecord[];
}

/** The keys that new values and tokens are made with: loaded, created, kept fresh. */
export class CurrentKeys<C> {
  readonly #services: KeyServices<C>;
  readonly #onDataKey: (key: DataKey, confirmedAt: number) => void;
  readonly #dataKeys = new ActiveKeys<DataKey>();
  readonly #indexRoots = new ActiveKeys<IndexRoots>();
  readonly #failures = new FailedKeys();
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
  prepare(
    names: readonly string[],
    { index, insists = false }: { readonly index: boolean; readonly insists?: boolean },
    connection?: C,
  ): Promise<void> | undefined {
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
    if (this.#services.loading.isInside) {
      const again = (): Promise<void> | undefined =>
        this.prepare(names, { index, insists }, connection);
      return this.#untilOutside(wanted, again);
    }
    const failure = insists ? undefined : this.#justFailed(wanted, now);
    if (failure !== undefined) return Promise.reject(failure);
    // A caller inside a transaction reads through its own connection and waits for nobody else's:
    // theirs may be queued behind the very connection that it holds.
    if (connection !== undefined) return this.#confirmWithin(wanted, connection);
    return this.#confirmations.run(JSON.stringify(wanted), () => this.#confirm(wanted));
  }

  /** Asks the table and the KMS for these keys whatever their age in memory. */
  confirm(names: readonly string[], index: boolean): Promise<void> {
    const wanted = { data: names, index: index ? [INDEX_ROOT_NAME] : [] };
    return this.#confirm(wanted, { maxAgeMs: 0 });
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

  /** How a key stands. Asks nobody. */
  standing(purpose: 'data' | 'index', name: string): KeyStanding {
    const { policy, clock } = this.#services;
    const keys = this.#keysFor(purpose);
    const age = keys.age(name, clock());
    const failure = this.#failures.error(slot(purpose, name));
    return {
      ...{ name, purpose, version: keys.get(name)?.version ?? null },
      freshForMs: Math.max(0, Math.floor(policy.ttlMs - age)),
      usableForMs: Math.max(0, Math.floor(policy.maxAgeMs - age)),
      failure,
      isStopped: purpose === 'data' && failure instanceof NoActiveKeyError,
    };
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
    const { id, name, version, epoch } = record;
    if (this.#keysFor(record.purpose).isOutdated(name, confirmedAt)) return;
    const held = { id, name, version, epoch, confirmedAt };
    const usableUntil = databaseTime + this.#services.policy.maxAgeMs;
    if (unwrapped.purpose === 'index') {
      const key: IndexRoots = [unwrapped.key, ...others];
      this.#indexRoots.accept({ ...held, key, usableUntil });
    } else if (unwrapped.purpose === 'data') {
      const { key } = unwrapped;
      this.#dataKeys.accept({ ...held, key, usableUntil });
      this.#onDataKey(key, confirmedAt);
    }
    this.#failures.forget(slot(record.purpose, name));
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
    this.#keysFor(purpose).drop(name, this.#services.clock());
    this.#remember(purpose, name, reason);
  }

  /** Uses this key no more, which may have been the active one when it was last confirmed. */
  retire(keyId: string): void {
    const now = this.#services.clock();
    this.#dataKeys.dropKey(keyId, now);
    this.#indexRoots.dropKey(keyId, now);
  }

  /** Uses no key before it is confirmed anew. */
  retireAll(): void {
    const now = this.#services.clock();
    this.#dataKeys.dropAll(now);
    this.#indexRoots.dropAll(now);
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

  /**
   * On a caller's connection, which waits for the KMS briefly and whose transaction a first key cannot
   * be made in: the key is loaded or made beside it, for the next try.
   */
  async #confirmWithin(wanted: Wanted, connection: C): Promise<void> {
    try {
      await this.#confirm(wanted, { connection });
    } catch (failure) {
      if (failure instanceof FieldEncryptionError && failure.retryable) {
        this.#refresh.start(() => this.#confirm(wanted));
      }
      throw failure;
    }
  }

  /** Why one of these keys could not be had a moment ago: asking again would only add to it. */
  #justFailed(wanted: Wanted, now: number): Error | undefined {
    const slots = [
      ...wanted.data.map((name) => slot('data', name)),
      ...wanted.index.map((name) => slot('index', name)),
    ];
    const failed = slots.find((each) => this.#failures.isSettled(each, now));
    const failure = failed === undefined ? undefined : this.#failures.error(failed);
    return isOfKms(failure) ? failure : undefined;
  }

  #due(names: readonly string[], index: boolean, now: number): Wanted {
    const { ttlMs } = this.#services.policy;
    const due = (keys: ActiveKeys<unknown>) => (name: string) => keys.age(name, now) >= ttlMs;
    return {
      data: [...new Set(names)].filter(due(this.#dataKeys)),
      index: index ? [INDEX_ROOT_NAME].filter(due(this.#indexRoots)) : [],
    };
  }

  /** What is written nevertheless with keys that stay missing is told why they are. */
  async #untilOutside(
    { data, index }: Wanted,
    prepare: () => Promise<void> | undefined,
  ): Promise<void> {
    try {
      await this.#services.loading.untilOutside();
    } catch (failure) {
      for (const name of data) this.#failures.remember(slot('data', name), failure, -Infinity);
      for (const name of index) this.#failures.remember(slot('index', name), failure, -Infinity);
      throw failure;
    }
    await prepare();
  }

  #confirm(wanted: Wanted, how: Confirming<C> = {}): Promise<void> {
    return this.#services.loading.run(() => this.#load(wanted, how));
  }

  /** Reads the rows first and asks the KMS then, while it holds no connection but a caller's. */
  async #load(
    wanted: Wanted,
    { connection, maxAgeMs = this.#services.policy.ttlMs }: Confirming<C>,
  ): Promise<void> {
    const { clock, policy } = this.#services;
    const generation = this.#generation;
    const startedAt = clock();
    const confirmedAfter = startedAt - maxAgeMs;
    this.#dataKeys.dropConfirmedBy(startedAt - policy.maxAgeMs);
    this.#indexRoots.dropConfirmedBy(startedAt - policy.maxAgeMs);
    if (!(await this.#isReady(wanted, connection))) {
      this.#noteMissingTable(wanted);
      return;
    }
    const age = connection === undefined ? 0 : await this.#snapshotAge(wanted, connection);
    const databaseTime = (await this.#services.store.now(connection)).getTime() - age;
    const attempt = { confirmedAt: startedAt - age, databaseTime, generation, confirmedAfter };
    // Nobody waits for it: a caller may hold the only connection.
    void this.#services.uses.flush();
    const anchor = this.#services.audit?.anchor;
    if (anchor?.isBehind === true) void anchor.advance();

    // One after the other: they may share the caller's connection.
    const data = await this.#findCurrent('data', wanted.data, connection);
    const index = await this.#findCurrent('index', wanted.index, connection);
    const due = [
      ...wanted.data.map((name) => dueKey('data', name, data)),
      ...wanted.index.map((name) => dueKey('index', name, index)),
    ];
    const [present, absent] = partition(due, ({ active }) => active.length > 0);
    await settleAll(
      [
        () => this.#takeWhileHeld(present, attempt, connection),
        () => settleAll(absent, 1, (key) => this.#take(key, attempt, connection)),
      ],
      1,
      (take) => take(),
    );
    const announced = data.filter(({ state }) => state === 'preActive');
    await this.#services.wrapper
      .whileHeld(connection, this.#readAhead(announced, attempt), announced)
      .catch(() => undefined);
  }

  async #isReady(wanted: Wanted, connection?: C): Promise<boolean> {
    try {
      return await this.#services.table.isReady(connection);
    } catch (failure) {
      this.#noteFailures(wanted, failure);
      throw failure;
    }
  }

  /** A transaction may see the key table as it was before a key was taken out of use. */
  async #snapshotAge(wanted: Wanted, connection: C): Promise<number> {
    const { policy, store } = this.#services;
    const age = await store.snapshotAge(connection);
    if (age < policy.maxAgeMs) return age;
    const failure = oldTransaction(policy.maxAgeMs);
    this.#noteFailures(wanted, failure);
    throw failure;
  }

  #noteFailures({ data, index }: Wanted, failure: unknown): void {
    for (const name of data) this.#noteFailure('data', name, failure);
    for (const name of index) this.#noteFailure('index', name, failure);
  }

  /** Takes in keys that are there: without the caller's connection, which may be gone when they come. */
  async #takeWhileHeld(keys: readonly DueKey[], attempt: Attempt, connection?: C): Promise<void> {
    const { wrapper } = this.#services;
    const taking = settleAll(keys, CONCURRENT_UNWRAPS, (key) => this.#take(key, attempt));
    const records = keys.flatMap((key) => key.records);
    await wrapper.whileHeld(connection, taking, records).catch((failure: unknown) => {
      if (failure instanceof StillLoadingError) {
        for (const { purpose, name } of keys) {
          if (!this.#isFresh(purpose, name)) this.#noteFailure(purpose, name, failure);
        }
      }
      throw failure;
    });
  }

  /**
   * Takes in the announced data keys, so that what another process writes with them can be read from the
   * first moment. Nobody waits for one that fails: it is loaded again where a value needs it.
   */
  async #readAhead(records: readonly KeyRecord[], attempt: Attempt): Promise<void> {
    const { wrapper } = this.#services;
    await settleAll(records, CONCURRENT_UNWRAPS, async (record) => {
      const unwrapped = await wrapper.unwrapToRead(record);
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
    if (names.length === 0) return [];
    try {
      return await this.#services.store.findCurrent(purpose, names, connection);
    } catch (failure) {
      for (const name of names) this.#noteFailure(purpose, name, failure);
      throw failure;
    }
  }

  async #obtain({ purpose, name, active }: DueKey, connection?: C): Promise<CreatedKey> {
    const record = soleActive(active);
    if (record === undefined) return this.#createFirst(purpose, name, connection);
    return { record, unwrapped: await this.#services.wrapper.unwrap(record, connection) };
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

  async #take(key: DueKey, attempt: Attempt, connection?: C): Promise<void> {
    const { purpose, name, records } = key;
    const { generation } = attempt;
    try {
      this.#requireOpen(generation);
      if (this.#isConfirmed(key, attempt)) return;
      const created = await this.#obtain(key, connection);
      const others = await otherRoots(this.#services, records, connection);
      this.#requireOpen(generation);
      this.accept(created, attempt, others);
    } catch (failure) {
      if (generation === this.#generation) this.#noteFailure(purpose, name, failure);
      throw failure;
    }
  }

  /** Whether somebody else has just confirmed what these rows say. */
  #isConfirmed({ purpose, name, records, active }: DueKey, { confirmedAfter }: Attempt): boolean {
    const held = this.#keysFor(purpose).get(name);
    if (held === undefined || held.confirmedAt <= confirmedAfter) return false;
    if (soleActive(active)?.id !== held.id) return false;
    return purpose === 'data' || this.#indexRoots.get(name)?.key.length === records.length;
  }

  #requireOpen(generation: number): void {
    if (generation !== this.#generation) throw closedMeanwhile();
  }

  #noteMissingTable(wanted: Wanted): void {
    for (const name of wanted.data) this.#noteMissing('data', name);
    for (const name of wanted.index) this.#noteMissing('index', name);
  }

  #noteFailure(purpose: KeyPurpose, name: string, failure: unknown): void {
    this.#remember(purpose, name, failure);
    this.#services.emit(loadFailed(purpose, { name }, failure));
  }

  /** It may be made at any moment, and then nobody is to wait. */
  #noteMissing(purpose: KeyPurpose, name: string): void {
    this.#failures.remember(slot(purpose, name), keyTableMissing(), -Infinity);
  }

  #remember(purpose: KeyPurpose, name: string, failure: unknown): void {
    this.#failures.remember(slot(purpose, name), failure, this.#services.clock());
  }

  #isFresh(purpose: KeyPurpose, name: string): boolean {
    const { clock, policy } = this.#services;
    const keys = this.#keysFor(purpose);
    return keys.age(name, clock()) < policy.ttlMs;
  }

  #keysFor(purpose: KeyPurpose): ActiveKeys<DataKey> | ActiveKeys<IndexRoots> {
    return purpose === 'data' ? this.#dataKeys : this.#indexRoots;
  }

  #usable<T>(purpose: KeyPurpose, name: string, keys: ActiveKeys<T>): ActiveKey<T> {
    const { clock, policy } = this.#services;
    const held = keys.get(name);
    if (held !== undefined && clock() - held.confirmedAt < policy.maxAgeMs) return held;

    const label = purpose === 'data' ? `key "${name}"` : 'the blind-index root key';
    const failure = this.#failures.error(slot(purpose, name));
    if (failure !== undefined) throw typedFailure(label, failure);
    // Another statement may be about to have it confirmed again.
    if (keys.hasHeld(name)) throw notConfirmedInTime(label, policy.maxAgeMs);
    throw new ConfigurationError(
      `${label} is not in memory. Initialize the DataSource before its encrypted columns are used.`,
    );
  }
}

/** Whether it was the KMS that did not give a key; what is wrong in the database may be mended at once. */
function isOfKms(failure: unknown): failure is Error {
  return (
    failure instanceof KmsUnavailableError ||
    failure instanceof KeyUnwrapError ||
    failure instanceof ConfigurationError
  );
}

function slot(purpose: KeyPurpose, name: string): string {
  return `${purpose}:${name}`;
}

function dueKey(purpose: 'data' | 'index', name: string, found: readonly KeyRecord[]): DueKey {
  const records = found.filter((record) => record.name === name);
  return { purpose, name, records, active: records.filter(({ state }) => state === 'active') };
}

function partition<T>(items: readonly T[], test: (item: T) => boolean): [T[], T[]] {
  return [items.filter(test), items.filter((item) => !test(item))];
}
