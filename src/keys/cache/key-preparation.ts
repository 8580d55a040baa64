import { BackgroundRefresh } from '../../async/background-refresh';
import { SingleFlight } from '../../async/single-flight';
import { FieldEncryptionError } from '../../errors';
import type { KeyServices } from '../key-services';
import { INDEX_ROOT_NAME } from '../record/key-record';

import type { CurrentKey, CurrentKeys } from './current-keys';
import { KeyConfirmation } from './key-confirmation';
import type { KeyRing } from './key-ring';

/** The preparation of current keys: decides when they are confirmed, and which callers wait for it. */
export class KeyPreparation<C> {
  readonly #services: KeyServices<C>;
  readonly #current: CurrentKeys;
  readonly #confirmation: KeyConfirmation<C>;
  readonly #confirmations = new SingleFlight<void>();
  readonly #refresh: BackgroundRefresh;

  constructor(services: KeyServices<C>, current: CurrentKeys, ring: KeyRing<C>) {
    this.#services = services;
    this.#current = current;
    this.#confirmation = new KeyConfirmation(services, current, ring);
    this.#refresh = new BackgroundRefresh(services.clock);
  }

  /** See `KeyManager.prepare`. Called for every write: the fresh case allocates nothing. */
  prepare(
    names: readonly string[],
    { index, insists = false }: { readonly index: boolean; readonly insists?: boolean },
    connection?: C,
  ): Promise<void> | undefined {
    const { clock, loading, policy } = this.#services;
    const now = clock();
    const oldest = this.#current.oldestAge(names, index, now);
    if (oldest < policy.ttlMs) return undefined;

    const due = wanted(names, index).filter((key) => this.#current.age(key, now) >= policy.ttlMs);
    if (oldest < policy.maxAgeMs) {
      this.#refresh.start(() => this.#confirmation.confirm(due));
      return undefined;
    }
    if (loading.isInside) {
      return this.#untilOutside(due, () => this.prepare(names, { index, insists }, connection));
    }
    const failure = insists ? undefined : this.#current.recentKmsFailure(due, now);
    if (failure !== undefined) return Promise.reject(failure);
    // A caller inside a transaction reads through its own connection and waits for nobody else's:
    // theirs may be queued behind the very connection that it holds.
    if (connection !== undefined) return this.#confirmWithin(due, connection);
    return this.#confirmations.run(JSON.stringify(due), () => this.#confirmation.confirm(due));
  }

  /** Confirms these keys by the table and the KMS whatever their age in memory. */
  confirm(names: readonly string[], index: boolean): Promise<void> {
    return this.#confirmation.confirm(wanted(names, index), { maxAgeMs: 0 });
  }

  /** Lets later callers make their own requests. */
  clear(): void {
    this.#confirmations.clear();
    this.#confirmation.clear();
    this.#refresh.reset();
  }

  /**
   * Confirms keys on a caller's connection. It waits for the KMS only briefly, and its transaction is
   * no place to create a first key: both go on beside it, for the next try.
   */
  async #confirmWithin(due: readonly CurrentKey[], connection: C): Promise<void> {
    try {
      await this.#confirmation.confirm(due, { connection });
    } catch (failure) {
      if (failure instanceof FieldEncryptionError && failure.retryable) {
        this.#refresh.start(() => this.#confirmation.confirm(due));
      }
      throw failure;
    }
  }

  /** The reason is remembered, for writes that use the missing keys regardless. */
  async #untilOutside(
    due: readonly CurrentKey[],
    prepare: () => Promise<void> | undefined,
  ): Promise<void> {
    try {
      await this.#services.loading.untilOutside();
    } catch (failure) {
      this.#current.notePassing(due, failure);
      throw failure;
    }
    await prepare();
  }
}

function wanted(names: readonly string[], index: boolean): CurrentKey[] {
  const data = [...new Set(names)].map((name): CurrentKey => ({ purpose: 'data', name }));
  return index ? [...data, { purpose: 'index', name: INDEX_ROOT_NAME }] : data;
}
