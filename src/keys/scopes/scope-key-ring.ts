import { BackgroundRefresh } from '../../async/background-refresh';
import { wipe } from '../../crypto/secret-bytes';
import { keyIdOfPrefix, keyPrefix } from '../../format/data-key-id';
import { FailedKeys, oldTransaction, typedFailure } from '../cache/failed-keys';
import type { KeyRing } from '../cache/key-ring';
import type { KeyServices } from '../key-services';
import type { DataKey } from '../key-source';
import { scopeSlot } from '../record/scope';
import { scopeOf } from '../record/scope-key-record';
import type { MarkPurpose, ScopeKeyRecord } from '../record/scope-key-record';
import { erasedError, marksByScope } from './erasure/marks-of-scopes';
import { KnownKeys } from './known-keys';
import type { ScopeBranches } from './scope-branches';
import type { ScopeKeyStore } from './scope-key-store';
import { encryptsNothing, openedScopeKey } from './opened-scope-key';
import type { OpenedScopeKey } from './opened-scope-key';
import { openScopeKey, sealScopeKey } from './sealed-scope-key';
import { authenticatedBranch, branchPrefixes, sealingBranch } from './sealing-branch';
import type { BranchKeys } from './sealing-branch';

/** The data keys of scopes by the prefix of their ciphertexts, for reading, before those of the common ring. */
export class ScopeKeyRing<C> {
  readonly #services: KeyServices<C>;
  readonly #store: ScopeKeyStore<C>;
  readonly #common: KeyRing<C>;
  readonly #branchKeys: BranchKeys;
  readonly known: KnownKeys;
  /** By prefix, those of the branch keys, which the keys age with. */
  readonly #branches = new WeakMap<DataKey, string>();
  readonly #failed = new FailedKeys();
  readonly #refresh: BackgroundRefresh;

  constructor(
    services: KeyServices<C>,
    store: ScopeKeyStore<C>,
    parts: {
      readonly common: KeyRing<C>;
      readonly branches: Pick<ScopeBranches<C>, 'nameOf' | 'nameIfKnown'>;
    },
  ) {
    this.#services = services;
    this.#store = store;
    this.#common = parts.common;
    this.#branchKeys = {
      keyByPrefix: (prefix) => parts.common.keyByPrefix(prefix),
      nameOf: (scope) => parts.branches.nameOf(scope),
      nameIfKnown: (scope) => parts.branches.nameIfKnown(scope),
    };
    this.known = new KnownKeys(services.clock);
    this.#refresh = new BackgroundRefresh(services.clock);
  }

  get size(): number {
    return this.known.size;
  }

  /** See `KeySource.keyByPrefix`. */
  keyByPrefix(prefix: string): DataKey {
    const key = this.#held(prefix);
    if (key !== undefined) {
      // It is as old as the branch key that has opened it.
      this.#common.keyByPrefix(this.#branches.get(key) ?? '');
      return key;
    }
    const failure = this.#failed.error(prefix);
    if (failure === undefined) return this.#common.keyByPrefix(prefix);
    throw typedFailure(`key ${String(keyIdOfPrefix(prefix))}`, failure);
  }

  /** See `KeyManager.missing`. */
  missing(prefixes: Iterable<string>): string[] {
    const { clock, policy } = this.#services;
    const now = clock();
    const missing: string[] = [];
    const due: string[] = [];
    for (const prefix of new Set(prefixes)) {
      const key = this.#held(prefix);
      if (key === undefined) missing.push(prefix);
      else if (this.#common.missing([this.#branches.get(key) ?? '']).length > 0)
        missing.push(prefix);
      else if (now - (this.known.get(prefix)?.confirmedAt ?? 0) >= policy.ttlMs) due.push(prefix);
    }
    if (due.length > 0) this.#refresh.start(() => this.#load(due));
    const unknown = missing.filter((prefix) => !this.#failed.hasJustFailed(prefix, now));
    // Those of the common ring that have failed are not asked for again either.
    const held = new Set(unknown.filter((prefix) => this.#held(prefix) !== undefined));
    return [...held, ...this.#common.missing(unknown.filter((prefix) => !held.has(prefix)))];
  }

  /** See `KeyManager.load`. */
  async load(prefixes: readonly string[], connection?: C): Promise<void> {
    const { loading } = this.#services;
    if (loading.isInside) await loading.untilOutside();
    const missing = this.missing(prefixes);
    if (missing.length > 0) await this.#load(missing, connection);
  }

  /**
   * Opens a key of a scope, to protect something with it, with its branch key, which must have been loaded.
   *
   * @throws {@link KeyUnwrapError} for a row that was edited, {@link UnauthenticatedKeyError}, and whatever the
   * branch key fails with; {@link ErasedError} for a scope that was found erased
   */
  open(record: ScopeKeyRecord): OpenedScopeKey {
    this.known.requireNotErased(scopeOf(record));
    authenticatedBranch(this.#branchKeys, record);
    return this.#openToRead(record);
  }

  /** {@link ScopeKeyRing.open} also for a key whose branch could have been made without the KMS. */
  #openToRead(record: ScopeKeyRecord): OpenedScopeKey {
    const branch = sealingBranch(this.#branchKeys, record);
    const opened = openedScopeKey(branch, record, this.#services);
    if ('data' in opened) this.#branches.set(opened.data, branch.prefix);
    return opened;
  }

  /**
   * Checks that a mark was written by this library, and returns what it holds.
   *
   * @throws {@link KeyUnwrapError} for one that was edited, {@link UnauthenticatedKeyError}
   */
  proveMark(record: ScopeKeyRecord): Uint8Array {
    const branch = authenticatedBranch(this.#branchKeys, record);
    return openScopeKey(branch, record, this.#services.application);
  }

  /**
   * Returns the mark of a purpose among those of one scope, unless it is void. All of them, void or not, have to
   * prove themselves: any could be the one that is looked for, edited.
   *
   * @throws as {@link ScopeKeyRing.proveMark}
   */
  markAmong(marks: readonly ScopeKeyRecord[], purpose: MarkPurpose): ScopeKeyRecord | undefined {
    for (const mark of marks) wipe(this.proveMark(mark));
    return marks.find((mark) => mark.purpose === purpose && mark.state !== 'deactivated');
  }

  /** Seals a key again, under the same branch key, with changed fields or, for `branch`, under another. */
  resealed(
    record: ScopeKeyRecord,
    changes: Partial<Pick<ScopeKeyRecord, 'state' | 'since'>>,
    branch?: DataKey,
  ): ScopeKeyRecord {
    const { application } = this.#services;
    const present = authenticatedBranch(this.#branchKeys, record);
    const bytes = openScopeKey(present, record, application);
    try {
      return sealScopeKey(branch ?? present, { ...record, ...changes }, application, bytes);
    } finally {
      wipe(bytes);
    }
  }

  /** Keeps a data key that was opened a moment ago. */
  keep(key: DataKey, confirmedAt: number): void {
    this.known.keep(key, confirmedAt);
    this.#failed.forget(key.prefix);
  }

  /**
   * Loads the branch keys that are needed to open some records, with one query, and forgets keys past their age.
   *
   * @param others - prefixes of common keys to be loaded along with them.
   */
  loadBranches(
    records: readonly ScopeKeyRecord[],
    connection?: C,
    others: readonly string[] = [],
  ): Promise<void> {
    const oldest = this.#services.clock() - this.#services.policy.maxAgeMs;
    this.known.dropConfirmedBy(oldest);
    // Names the KMS that is asked for the branch of a scope that has its own.
    for (const record of records) this.#branchKeys.nameIfKnown(scopeOf(record));
    return this.#common.load([...new Set([...others, ...branchPrefixes(records)])], connection);
  }

  /** Forgets the keys, and not which scopes were erased. */
  clear(): void {
    this.known.drop();
    this.#failed.clear();
    this.#refresh.reset();
  }

  #held(prefix: string): DataKey | undefined {
    const { clock, policy } = this.#services;
    const known = this.known.get(prefix);
    const isFresh = known !== undefined && clock() - known.confirmedAt < policy.maxAgeMs;
    return isFresh ? known.key : undefined;
  }

  /** Loads keys of scopes with one query, and with another their branch keys along with all other keys. */
  async #load(prefixes: readonly string[], connection?: C): Promise<void> {
    const { clock, lifetime, loading, store } = this.#services;
    const isOpen = lifetime.current();
    const startedAt = clock();
    const ids = prefixes.flatMap((prefix) => keyIdOfPrefix(prefix) ?? []);
    const records = await loading.run(() => this.#store.findByIds(ids, connection));
    const isSnapshot = connection !== undefined && records.length > 0;
    const age = isSnapshot ? await store.snapshotAge(connection) : 0;
    const found = new Set<string | undefined>(records.map(({ id }) => id));
    const others = prefixes.filter((prefix) => !found.has(keyIdOfPrefix(prefix)));
    await this.loadBranches(records, connection, others);
    if (!isOpen()) return;
    const asked = new Set(ids);
    const marks = marksByScope(records);
    for (const record of records) {
      if (!asked.has(record.id)) continue;
      const ofScope = marks.get(scopeSlot(scopeOf(record))) ?? [];
      // Too old since the KMS of another was waited for, which is no failure of this key.
      if (this.#common.missing(branchPrefixes([record, ...ofScope])).length > 0) continue;
      const key = this.#opened(record, ofScope);
      if (key !== undefined) this.#keepSeen(key, startedAt, age);
    }
  }

  /** A key counts as confirmed when the rows were as they were read, which may be before the scope was erased. */
  #keepSeen(key: DataKey, readAt: number, age: number): void {
    this.keep(key, readAt - age);
    const { maxAgeMs } = this.#services.policy;
    // Only this transaction is too old, and others need not wait.
    if (age >= maxAgeMs) this.#failed.remember(key.prefix, oldTransaction(maxAgeMs), -Infinity);
  }

  /** A mark forbids the key of its scope, even if somebody has put an older row of that back. */
  #opened(record: ScopeKeyRecord, marks: readonly ScopeKeyRecord[]): DataKey | undefined {
    try {
      const mark = this.markAmong(marks, 'erasure');
      if (mark?.state === 'erased') this.known.noteErased(scopeOf(record), erasedError(mark));
      this.known.requireNotErased(scopeOf(record));
      const opened = this.#openToRead(record);
      if ('data' in opened) return opened.data;
      throw encryptsNothing(record);
    } catch (failure) {
      this.known.delete(keyPrefix(record.id));
      this.#failed.remember(keyPrefix(record.id), failure, this.#services.clock());
      return undefined;
    }
  }
}
