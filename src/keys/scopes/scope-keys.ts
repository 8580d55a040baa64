import { BackgroundRefresh } from '../../async/background-refresh';
import { KmsUnavailableError } from '../../errors';
import type { ActiveKey } from '../cache/active-keys';
import { FailedKeys, typedFailure } from '../cache/failed-keys';
import type { UsedKeys } from '../cache/used-keys';
import type { KeyServices } from '../key-services';
import type { DataKey, IndexRoots } from '../key-source';

import { scopeSlot } from '../record/scope';
import type { Scope } from '../record/scope';
import type { ScopeBranches } from './scope-branches';
import { ScopeKeyCache } from './scope-key-cache';
import type { ErasedScope } from './scope-key-cache';
import { scopeOf } from '../record/scope-key-record';
import type { ScopeKeyPurpose, ScopeKeyRecord } from '../record/scope-key-record';
import { erasedError } from './scope-key-ring';
import type { ScopeKeyRing } from './scope-key-ring';
import type { FoundScopeKeys, ScopeKeyStore } from './scope-key-store';
import { ScopeKeyCreation } from './scope-key-creation';
import type { WantedKey } from './scope-key-creation';

/** The parts of {@link ScopeKeys}. */
export interface ScopeKeysParts<C> {
  readonly services: KeyServices<C>;
  readonly store: ScopeKeyStore<C>;
  readonly branches: ScopeBranches<C>;
  readonly ring: ScopeKeyRing<C>;
  /** Returns what collects the keys of the statement that is being made, if one is. */
  readonly used: () => UsedKeys | undefined;
}

/** The keys that new values and tokens of scopes are made with, which are created when they are first wanted. */
export class ScopeKeys<C> {
  readonly #parts: ScopeKeysParts<C>;
  readonly #data = new ScopeKeyCache<DataKey>();
  readonly #index = new ScopeKeyCache<IndexRoots>();
  readonly #failed = new FailedKeys();
  readonly #refresh: BackgroundRefresh;
  readonly #creation: ScopeKeyCreation<C>;

  constructor(parts: ScopeKeysParts<C>) {
    this.#parts = parts;
    this.#creation = new ScopeKeyCreation(parts);
    this.#refresh = new BackgroundRefresh(parts.services.clock);
  }

  /** See `KeySource.activeKeyOf`. */
  dataKey(scope: Scope): DataKey {
    const held = this.#usable(this.#data, { scope, purpose: 'data' });
    this.#parts.used()?.addDataKey(held);
    return held.key;
  }

  /** See `KeySource.indexRootsOf`. */
  indexRoots(scope: Scope): IndexRoots {
    const held = this.#usable(this.#index, { scope, purpose: 'index' });
    this.#parts.used()?.addIndexRoots(held);
    return held.key;
  }

  /**
   * Makes the keys of these scopes usable synchronously, with `index` those of their blind indexes, too.
   * Creates those that are missing: for good, unless the connection is in a transaction. A key that fails
   * does not reject it; it is thrown where a value needs it.
   *
   * @returns undefined if all of them are fresh
   */
  prepare(
    scopes: readonly Scope[],
    { index }: { readonly index: boolean },
    connection?: C,
  ): Promise<void> | undefined {
    const { clock, loading, policy } = this.#parts.services;
    const now = clock();
    const due = wantedKeys(scopes, index).filter((key) => this.#age(key, now) >= policy.ttlMs);
    if (due.length === 0) return undefined;
    const missing = due.filter((key) => this.#age(key, now) >= policy.maxAgeMs);
    if (missing.length === 0) {
      this.#refresh.start(() => this.#obtain(due));
      return undefined;
    }
    if (!loading.isInside) return this.#obtain(missing, connection);
    return loading.untilOutside().then(() => this.prepare(scopes, { index }, connection));
  }

  /** Forgets what is known of a scope, so that its keys are looked for again. */
  withdraw(scope: Scope, reason: ErasedScope): void {
    this.#data.withdraw(scopeSlot(scope), reason);
    this.#index.withdraw(scopeSlot(scope), reason);
  }

  clear(): void {
    this.#data.clear();
    this.#index.clear();
    this.#failed.clear();
    this.#refresh.reset();
  }

  async #obtain(wanted: readonly WantedKey[], connection?: C): Promise<void> {
    const { branches, services } = this.#parts;
    const isOpen = services.lifetime.current();
    const failures = await branches.prepare(scopesOf(wanted), connection);
    const possible = wanted.filter(({ scope }) => !failures.has(branches.nameOf(scope)));
    for (const key of wanted) {
      const failure = failures.get(branches.nameOf(key.scope));
      if (failure !== undefined) this.#fail(key, failure);
    }
    const left = await this.#find(possible, connection, isOpen);
    if (left.length === 0 || !isOpen()) return;
    await this.#creation.create(left, connection);
    await this.#find(left, connection, isOpen);
    this.#data.makeRoom(wanted.length);
    this.#index.makeRoom(wanted.length);
  }

  /** Reads keys and accepts those that there are. Returns those that there are not. */
  async #find(
    wanted: readonly WantedKey[],
    connection: C | undefined,
    isOpen: () => boolean,
  ): Promise<readonly WantedKey[]> {
    if (wanted.length === 0) return [];
    const { ring, services, store } = this.#parts;
    const found = await services.loading.run(() => store.findCurrent(scopesOf(wanted), connection));
    await ring.loadBranches(found.records, connection);
    if (!isOpen()) return [];
    const bySlot = new Map(found.records.map((record) => [slotOf(record), record]));
    const left = wanted.filter((key) => {
      const mark = bySlot.get(slotOfKey('erasure', key.scope));
      const record = bySlot.get(slotOfKey(key.purpose, key.scope));
      if (mark !== undefined) this.#acceptErasure(key, mark);
      else if (record !== undefined) this.#accept(key, record, found);
      return (mark ?? record) === undefined;
    });
    // Another connection may be waited for in vain by a caller that holds one.
    if (connection === undefined && !found.mayVanish) await this.#creation.record(found.records);
    return left;
  }

  #accept(key: WantedKey, record: ScopeKeyRecord, { mayVanish }: FoundScopeKeys): void {
    const { branches, ring, services } = this.#parts;
    const { scope } = key;
    const slot = scopeSlot(scope);
    try {
      const opened = ring.open(record);
      const branch = branches.standingFor(scope);
      if (branch === undefined) throw notReady(scope);
      // A key is as old as the branch key that opened it, and no younger than the read of its row.
      const { confirmedAt, usableUntil } = branch;
      const { id, kind: name, version } = record;
      const common = { id, name, version, epoch: 0, confirmedAt, usableUntil, mayVanish };
      if ('data' in opened) {
        this.#data.accept(slot, { ...common, key: opened.data });
        ring.keep([opened.data], confirmedAt);
      } else {
        this.#index.accept(slot, { ...common, key: [opened.index] });
      }
      this.#failed.forget(wantedSlot(key));
    } catch (failure) {
      this.#failed.remember(wantedSlot(key), failure, services.clock());
    }
  }

  /** Accepts that nothing can be written for a scope, once the mark has proved it. */
  #acceptErasure(key: WantedKey, mark: ScopeKeyRecord): void {
    const { ring, services } = this.#parts;
    try {
      ring.proveMark(mark);
      this.withdraw(key.scope, { error: erasedError(mark), isFinal: mark.state === 'erased' });
    } catch (failure) {
      this.#failed.remember(wantedSlot(key), failure, services.clock());
    }
  }

  #age({ scope, purpose }: WantedKey, now: number): number {
    return (purpose === 'data' ? this.#data : this.#index).age(scopeSlot(scope), now);
  }

  #fail(key: WantedKey, failure: unknown): void {
    this.#failed.remember(wantedSlot(key), failure, this.#parts.services.clock());
  }

  #usable<T>(cache: ScopeKeyCache<T>, wanted: WantedKey): ActiveKey<T> {
    const { clock, policy } = this.#parts.services;
    const held = cache.get(scopeSlot(wanted.scope));
    if (held !== undefined && 'error' in held) throw held.error;
    if (held !== undefined && clock() - held.confirmedAt < policy.maxAgeMs) return held;
    const failure = this.#failed.error(wantedSlot(wanted));
    throw failure === undefined
      ? notReady(wanted.scope)
      : typedFailure(`the ${wanted.purpose} key of a ${wanted.scope.kind}`, failure);
  }
}

function wantedKeys(scopes: readonly Scope[], index: boolean): WantedKey[] {
  const unique = new Map(scopes.map((scope) => [scopeSlot(scope), scope]));
  const purposes: readonly WantedKey['purpose'][] = index ? ['data', 'index'] : ['data'];
  return [...unique.values()].flatMap((scope) => purposes.map((purpose) => ({ scope, purpose })));
}

function scopesOf(wanted: readonly WantedKey[]): Scope[] {
  return [...new Map(wanted.map(({ scope }) => [scopeSlot(scope), scope])).values()];
}

function wantedSlot({ scope, purpose }: WantedKey): string {
  return slotOfKey(purpose, scope);
}

function slotOf(record: ScopeKeyRecord): string {
  return slotOfKey(record.purpose, scopeOf(record));
}

function slotOfKey(purpose: ScopeKeyPurpose, scope: Scope): string {
  return `${purpose}\0${scopeSlot(scope)}`;
}

function notReady({ kind }: Scope): KmsUnavailableError {
  return new KmsUnavailableError(
    `the key of a ${kind} is not in memory, or was not confirmed in time (keyCache.maxAgeMs). Try again.`,
  );
}
