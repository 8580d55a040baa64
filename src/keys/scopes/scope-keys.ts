import { BackgroundRefresh } from '../../async/background-refresh';
import type { ActiveKey } from '../cache/active-keys';
import { FailedKeys, typedFailure } from '../cache/failed-keys';
import type { UsedKeys } from '../cache/used-keys';
import type { KeyServices } from '../key-services';
import type { DataKey, IndexRoots } from '../key-source';
import { requireApproved } from '../wrapping/unwrapped-key';

import { scopeSlot } from '../record/scope';
import type { Scope } from '../record/scope';
import type { ScopeBranches } from './scope-branches';
import { erasedError, marksByScope } from './erasure/marks-of-scopes';
import { ScopeKeyCache } from './scope-key-cache';
import { isMark } from '../record/scope-key-record';
import type { ScopeKeyRecord } from '../record/scope-key-record';
import type { ScopeKeyRing } from './scope-key-ring';
import type { ScopeKeyStore } from './scope-key-store';
import { ScopeKeyCreation } from './scope-key-creation';
import type { CreatedScopeKeys } from './scope-key-creation';
import { noScopeKey, notReady } from './scope-key-errors';
import { standingsOf } from './standings';
import type { Standing } from './standings';
import { scopesOf, slotOf, slotOfKey, wantedKeys } from './wanted-key';
import type { KeysToPrepare, WantedKey } from './wanted-key';

/** The parts of {@link ScopeKeys}. */
export interface ScopeKeysParts<C> {
  readonly services: KeyServices<C>;
  readonly store: ScopeKeyStore<C>;
  readonly branches: ScopeBranches<C>;
  readonly ring: ScopeKeyRing<C>;
  /** Returns what collects the keys of the statement that is being made, if one is. */
  readonly used: () => UsedKeys | undefined;
}

/** One attempt to obtain keys. */
interface Attempt<C> {
  /** The caller's, if it holds one. */
  readonly connection: C | undefined;
  /** False once the manager was closed: late results are dropped. */
  readonly isOpen: () => boolean;
  readonly created?: CreatedScopeKeys;
}

/** The keys that new values and tokens of scopes are made with, which are created when they are first wanted. */
export class ScopeKeys<C> {
  readonly #parts: ScopeKeysParts<C>;
  readonly #data: ScopeKeyCache<DataKey>;
  readonly #index: ScopeKeyCache<IndexRoots>;
  readonly #failed = new FailedKeys();
  readonly #refresh: BackgroundRefresh;
  readonly creation: ScopeKeyCreation<C>;

  constructor(parts: ScopeKeysParts<C>) {
    this.#parts = parts;
    this.#data = new ScopeKeyCache(parts.services.clock);
    this.#index = new ScopeKeyCache(parts.services.clock);
    this.creation = new ScopeKeyCreation(parts);
    this.#refresh = new BackgroundRefresh(parts.services.clock);
  }

  /** See `KeySource.activeKeyOf`. */
  dataKey(scope: Scope): DataKey {
    const held = this.#usable(this.#data, { scope, purpose: 'data' });
    this.#parts.used()?.addDataKey(held);
    requireApproved(this.#parts.services.profile, held.key);
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
   * Creates those that are missing, unless `creates` is false: for good, unless the connection is in a
   * transaction. A key that fails does not reject it; it is thrown where a value needs it.
   *
   * @returns undefined if all of them are fresh
   */
  prepare(scopes: readonly Scope[], how: KeysToPrepare, connection?: C): Promise<void> | undefined {
    const { index, creates = true } = how;
    const { clock, loading, policy } = this.#parts.services;
    const now = clock();
    const due = wantedKeys(scopes, index).filter((key) => this.#age(key, now) >= policy.ttlMs);
    if (due.length === 0) return undefined;
    const missing = due.filter((key) => this.#age(key, now) >= policy.maxAgeMs);
    const obtain = (keys: readonly WantedKey[], held?: C): Promise<void> =>
      this.#failed.noting(keys.map(slotOfKey), clock, () =>
        creates ? this.#obtain(keys, held) : this.#obtainExisting(keys, held),
      );
    if (missing.length === 0) {
      this.#refresh.start(() => obtain(due));
      return undefined;
    }
    if (loading.isInside) {
      return loading.untilOutside().then(() => this.prepare(scopes, how, connection));
    }
    return obtain(missing, connection);
  }

  clear(): void {
    this.#data.clear();
    this.#index.clear();
    this.#failed.clear();
    this.#refresh.reset();
  }

  /** Obtains those keys that there are, none of which may pose as a mark, and remembers that there are no others. */
  async #obtainExisting(wanted: readonly WantedKey[], connection?: C): Promise<void> {
    const { ring, services, store } = this.#parts;
    const records = await services.loading.run(() =>
      store.findCurrent(scopesOf(wanted), connection),
    );
    const marks = marksByScope(records);
    const slots = new Set(records.filter((record) => !isMark(record)).map(slotOf));
    const missing = wanted.filter((key) => !slots.has(slotOfKey(key)));
    const ofMissing = missing.flatMap(({ scope }) => marks.get(scopeSlot(scope)) ?? []);
    if (ofMissing.length > 0) await ring.loadBranches(ofMissing, connection);
    for (const key of missing) {
      if (this.#isWithdrawn(key, undefined, marks.get(scopeSlot(key.scope)))) continue;
      this.#fail(key, noScopeKey(key.scope));
    }
    const existing = wanted.filter((key) => slots.has(slotOfKey(key)));
    if (existing.length > 0) await this.#obtain(existing, connection);
  }

  async #obtain(wanted: readonly WantedKey[], connection?: C): Promise<void> {
    const { branches, services } = this.#parts;
    const isOpen = services.lifetime.current();
    const failures = await branches.prepare(scopesOf(wanted), connection);
    const possible = wanted.filter((key) => {
      const slot = scopeSlot(key.scope);
      if (failures.has(slot)) this.#fail(key, failures.get(slot));
      return !failures.has(slot);
    });
    const attempt = { connection, isOpen };
    const left = await this.#find(possible, attempt);
    if (left.length > 0 && isOpen()) {
      const created = await this.creation.create(left, connection);
      await this.#find(left, { ...attempt, created });
    }
  }

  /** Reads keys and accepts those that there are. Returns those that there are not. */
  async #find(
    wanted: readonly WantedKey[],
    { connection, isOpen, created = { ids: [], taken: [] } }: Attempt<C>,
  ): Promise<readonly WantedKey[]> {
    if (wanted.length === 0) return [];
    const { ring, services, store } = this.#parts;
    // Before the rows are read: a branch may be confirmed again meanwhile, and they may not.
    const standings = await standingsOf(wanted, this.#parts, connection);
    const seen = await services.loading.run(() => store.findCurrent(scopesOf(wanted), connection));
    const records = [...seen, ...created.taken];
    await ring.loadBranches(records, connection);
    if (!isOpen()) return [];
    this.creation.forget(created.ids, records);
    const vanishing = await this.creation.vanishing(records, connection);
    const bySlot = new Map(records.map((record) => [slotOf(record), record]));
    const marks = marksByScope(records);
    const left = wanted.filter((key) => {
      const record = bySlot.get(slotOfKey(key));
      if (this.#isWithdrawn(key, record, marks.get(scopeSlot(key.scope)))) return false;
      if (record === undefined) return true;
      const mayVanish = vanishing.has(record.id);
      this.#accept(key, record, { mayVanish, branch: standings.get(key) });
      return false;
    });
    // Another connection may be waited for in vain by a caller that holds one.
    if (connection === undefined && vanishing.size === 0) await this.creation.recordLate(records);
    return left;
  }

  #accept(
    key: WantedKey,
    record: ScopeKeyRecord,
    { mayVanish, branch }: { readonly mayVanish: boolean; readonly branch: Standing | undefined },
  ): void {
    const { ring } = this.#parts;
    const slot = scopeSlot(key.scope);
    try {
      const opened = ring.open(record);
      if (branch === undefined) throw notReady(key.scope);
      const { id, kind: name, version } = record;
      const common = { id, name, version, epoch: 0, ...branch, mayVanish };
      if ('data' in opened) {
        this.#data.accept(slot, { ...common, key: opened.data });
        ring.keep(opened.data, branch.confirmedAt);
      } else {
        this.#index.accept(slot, { ...common, key: [opened.index] });
      }
      this.#failed.forget(slotOfKey(key));
    } catch (failure) {
      this.#fail(key, failure);
    }
  }

  /** Whether a key cannot be used by the marks of its scope, or one of these does not prove itself. */
  #isWithdrawn(
    key: WantedKey,
    record: ScopeKeyRecord | undefined,
    marks: readonly ScopeKeyRecord[] = [],
  ): boolean {
    try {
      const mark = this.#parts.ring.markAmong(marks, 'erasure');
      if (mark === undefined) return false;
      const reason = { error: erasedError(mark), isFinal: mark.state === 'erased' };
      if (reason.isFinal) this.#parts.ring.known.noteErased(key.scope, reason.error);
      this.#data.withdraw(scopeSlot(key.scope), reason);
      // Until the erasure, rows are read, and looked up as well.
      if (!reason.isFinal && key.purpose === 'index' && record !== undefined) return false;
      this.#cacheOf(key).withdraw(scopeSlot(key.scope), reason);
    } catch (failure) {
      this.#fail(key, failure);
    }
    return true;
  }

  #age(key: WantedKey, now: number): number {
    return this.#cacheOf(key).age(scopeSlot(key.scope), now);
  }

  #cacheOf({ purpose }: WantedKey): ScopeKeyCache<DataKey> | ScopeKeyCache<IndexRoots> {
    return purpose === 'data' ? this.#data : this.#index;
  }

  #fail(key: WantedKey, failure: unknown): void {
    this.#failed.remember(slotOfKey(key), failure, this.#parts.services.clock());
  }

  #usable<T>(cache: ScopeKeyCache<T>, wanted: WantedKey): ActiveKey<T> {
    const { clock, policy } = this.#parts.services;
    const held = cache.get(scopeSlot(wanted.scope));
    if (held !== undefined && 'error' in held) throw held.error;
    const failure = this.#failed.error(slotOfKey(wanted));
    const isFresh = held !== undefined && clock() - held.confirmedAt < policy.maxAgeMs;
    // One that may have been rolled back was looked for again.
    if (isFresh && (held.mayVanish !== true || failure === undefined)) return held;
    if (failure === undefined) throw notReady(wanted.scope);
    throw typedFailure(`the ${wanted.purpose} key of a ${wanted.scope.kind}`, failure);
  }
}
