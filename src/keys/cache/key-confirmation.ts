import { settleAll } from '../../async/settle-all';
import { SingleFlight } from '../../async/single-flight';
import { KeyStateError } from '../../errors';
import type { KeyServices } from '../key-services';
import type { KeyRecord } from '../record/key-record';
import { soleActive } from '../record/key-versions';
import type { CreatedKey } from '../wrapping/key-wrapper';
import { CONCURRENT_UNWRAPS, StillLoadingError } from '../wrapping/kms-client';

import type { Confirmation, CurrentKey, CurrentKeys } from './current-keys';
import { closedMeanwhile, oldTransaction } from './failed-keys';
import { otherRoots } from './index-roots';
import type { KeyRing } from './key-ring';
import { keyTableMissing } from './key-table';

/** Options of a confirmation. */
interface Confirming<C> {
  /** The caller's connection, if it holds one. */
  readonly connection?: C;
  /** A key that was confirmed less than this long ago is left alone. Defaults to `ttlMs`. */
  readonly maxAgeMs?: number;
}

/** One attempt to confirm keys. */
interface Attempt extends Confirmation {
  /** False once the manager was closed: late results are dropped. */
  readonly isOpen: () => boolean;
  /** A key confirmed after this need not be confirmed again. */
  readonly confirmedAfter: number;
}

/** A key to be confirmed, with its rows as they were read. */
interface DueKey extends CurrentKey {
  readonly records: readonly KeyRecord[];
  readonly active: readonly KeyRecord[];
}

/** The confirmation of current keys by the key table and the KMS, which also creates first versions. */
export class KeyConfirmation<C> {
  readonly #services: KeyServices<C>;
  readonly #current: CurrentKeys;
  readonly #ring: KeyRing<C>;
  readonly #creations = new SingleFlight<CreatedKey>();

  constructor(services: KeyServices<C>, current: CurrentKeys, ring: KeyRing<C>) {
    this.#services = services;
    this.#current = current;
    this.#ring = ring;
  }

  confirm(wanted: readonly CurrentKey[], how: Confirming<C> = {}): Promise<void> {
    return this.#services.loading.run(() => this.#confirmAll(wanted, how));
  }

  /** Lets later callers create keys on their own. */
  clear(): void {
    this.#creations.clear();
  }

  /** Reads the rows first and then asks the KMS, while it holds no connection but the caller's. */
  async #confirmAll(
    wanted: readonly CurrentKey[],
    { connection, maxAgeMs = this.#services.policy.ttlMs }: Confirming<C>,
  ): Promise<void> {
    const { clock, lifetime, policy, store } = this.#services;
    const isOpen = lifetime.current();
    const startedAt = clock();
    this.#current.dropConfirmedBy(startedAt - policy.maxAgeMs);
    if (!(await this.#isReady(wanted, connection))) {
      this.#current.notePassing(wanted, keyTableMissing());
      return;
    }
    const age = connection === undefined ? 0 : await this.#snapshotAge(wanted, connection);
    const databaseTime = (await store.now(connection)).getTime() - age;
    const confirmedAfter = startedAt - maxAgeMs;
    const attempt = { confirmedAt: startedAt - age, databaseTime, isOpen, confirmedAfter };
    this.#catchUpInBackground();

    // One after the other: they may share the caller's connection.
    const data = await this.#findCurrent('data', wanted, connection);
    const index = await this.#findCurrent('index', wanted, connection);
    const due = wanted.map((key) => dueKey(key, key.purpose === 'data' ? data : index));
    await this.#confirmFound(due, attempt, connection);
    const announced = data.filter(({ state }) => state === 'preActive');
    await this.#readAhead(announced, attempt, connection);
  }

  async #isReady(wanted: readonly CurrentKey[], connection?: C): Promise<boolean> {
    try {
      return await this.#services.table.isReady(connection);
    } catch (failure) {
      this.#current.noteFailures(wanted, failure);
      throw failure;
    }
  }

  /** A transaction may see the key table as it was before a key was taken out of use. */
  async #snapshotAge(wanted: readonly CurrentKey[], connection: C): Promise<number> {
    const { policy, store } = this.#services;
    const age = await store.snapshotAge(connection);
    if (age < policy.maxAgeMs) return age;
    const failure = oldTransaction(policy.maxAgeMs);
    this.#current.noteFailures(wanted, failure);
    throw failure;
  }

  /** Nobody waits for this: a caller may hold the only connection. */
  #catchUpInBackground(): void {
    const { audit, uses } = this.#services;
    void uses.flush();
    if (audit?.anchor?.isBehind === true) void audit.anchor.advance();
  }

  async #findCurrent(
    purpose: CurrentKey['purpose'],
    wanted: readonly CurrentKey[],
    connection?: C,
  ): Promise<KeyRecord[]> {
    const keys = wanted.filter((key) => key.purpose === purpose);
    if (keys.length === 0) return [];
    const names = keys.map(({ name }) => name);
    try {
      return await this.#services.store.findCurrent(purpose, names, connection);
    } catch (failure) {
      this.#current.noteFailures(keys, failure);
      throw failure;
    }
  }

  async #confirmFound(due: readonly DueKey[], attempt: Attempt, connection?: C): Promise<void> {
    const present = due.filter(({ active }) => active.length > 0);
    const absent = due.filter(({ active }) => active.length === 0);
    const steps = [
      () => this.#confirmPresent(present, attempt, connection),
      () => settleAll(absent, 1, (key) => this.#confirmOne(key, attempt, connection)),
    ];
    await settleAll(steps, 1, (step) => step());
  }

  /** Confirms keys without the caller's connection, which may be gone by the time the KMS answers. */
  async #confirmPresent(keys: readonly DueKey[], attempt: Attempt, connection?: C): Promise<void> {
    const { policy, wrapper } = this.#services;
    const work = settleAll(keys, CONCURRENT_UNWRAPS, (key) => this.#confirmOne(key, attempt));
    const records = keys.flatMap((key) => key.records);
    await wrapper.whileHeld(connection, work, records).catch((failure: unknown) => {
      if (failure instanceof StillLoadingError) {
        const late = keys.filter((key) => this.#current.age(key) >= policy.ttlMs);
        this.#current.noteFailures(late, failure);
      }
      throw failure;
    });
  }

  async #confirmOne(key: DueKey, attempt: Attempt, connection?: C): Promise<void> {
    try {
      requireOpen(attempt);
      if (this.#isConfirmed(key, attempt)) return;
      const created = await this.#obtain(key, connection);
      const others = await otherRoots(this.#services, key.records, connection);
      requireOpen(attempt);
      this.#current.accept(created, attempt, others);
    } catch (failure) {
      if (attempt.isOpen()) this.#current.noteFailures([key], failure);
      throw failure;
    }
  }

  /** Whether another caller has just confirmed the same rows. */
  #isConfirmed(key: DueKey, { confirmedAfter }: Attempt): boolean {
    const held = this.#current.get(key);
    if (held === undefined || held.confirmedAt <= confirmedAfter) return false;
    if (soleActive(key.active)?.id !== held.id) return false;
    return !Array.isArray(held.key) || held.key.length === key.records.length;
  }

  async #obtain(key: DueKey, connection?: C): Promise<CreatedKey> {
    const record = soleActive(key.active);
    if (record === undefined) return this.#createFirst(key, connection);
    return { record, unwrapped: await this.#services.wrapper.unwrap(record, connection) };
  }

  async #createFirst(key: DueKey, connection?: C): Promise<CreatedKey> {
    const { purpose, name } = key;
    // A caller that holds a connection must not wait for a creation that may wait for that connection.
    const flight = `${purpose}:${name}${connection === undefined ? '' : ', held'}`;
    try {
      return await this.#creations.run(flight, () =>
        this.#services.lifecycle.createFirst(purpose, name, connection),
      );
    } catch (failure) {
      // It was suspended. Unlike in an outage, the key in memory must not serve until it ages.
      if (failure instanceof KeyStateError && !failure.retryable) {
        this.#current.withdraw(key, failure);
      }
      throw failure;
    }
  }

  /**
   * Loads the announced data keys, so that what another process writes with them can be read from the
   * first moment. A failure is ignored: the key is loaded again where a value needs it.
   */
  async #readAhead(
    announced: readonly KeyRecord[],
    { isOpen, confirmedAt }: Attempt,
    connection?: C,
  ): Promise<void> {
    const { wrapper } = this.#services;
    const work = settleAll(announced, CONCURRENT_UNWRAPS, async (record) => {
      const unwrapped = await wrapper.unwrapToRead(record);
      if (isOpen() && unwrapped.purpose === 'data') this.#ring.add(unwrapped.key, confirmedAt);
    }).catch(() => undefined);
    await wrapper.whileHeld(connection, work, announced).catch(() => undefined);
  }
}

function requireOpen({ isOpen }: Attempt): void {
  if (!isOpen()) throw closedMeanwhile();
}

function dueKey({ purpose, name }: CurrentKey, found: readonly KeyRecord[]): DueKey {
  const records = found.filter((record) => record.name === name);
  return { purpose, name, records, active: records.filter(({ state }) => state === 'active') };
}
