import type { AuditOptions, AuditStore } from '../audit/audit-entry';
import type { CipherSuite, NonceMode } from '../crypto/aead';
import type { KmsProvider } from '../kms/kms-provider';
import { olderThanAnchor } from './anchor/key-anchor';
import type { KeyTableAnchor } from './anchor/anchor-state';
import { AuditedKeyStore } from './audit/audited-key-store';
import { CurrentKeys } from './cache/current-keys';
import type { KeyStanding } from './cache/current-keys';
import type { DataKey, IndexRoots, KeySource } from './key-source';
import type { KeyCacheOptions, KeyCachePolicy } from './cache/key-cache';
import { keyCachePolicy } from './cache/key-cache';
import type { KeyEvent, KeyEventListener } from './record/key-event';
import type { KeyInfo } from './record/key-info';
import { elapsedClock, turnClock } from '../async/clocks';
import { INDEX_ROOT_NAME } from './cache/index-roots';
import { keyInfo, keyInfos } from './policy/key-policy';
import { KeyAudit } from './audit/key-audit';
import { KeyLifecycle } from './lifecycle/key-lifecycle';
import { KeyOperations } from './key-operations';
import type { KeyPolicies } from './policy/key-policy';
import { KeyRetirement } from './lifecycle/key-retirement';
import { KeyRing } from './cache/key-ring';
import type { KeyServices } from './key-services';
import type { KeyStore } from './store/key-store';
import { KeyTable } from './cache/key-table';
import { KeyUses } from './store/key-uses';
import { KeyWrapper } from './wrapping/key-wrapper';
import { OwnLoading } from './cache/own-loading';
import { TimelyKeyStore, WatchedKeyStore } from './store/watched-key-store';
import type { UsedKeys } from './cache/used-keys';

/** What a key manager is made of. */
export interface KeyManagerOptions<C> {
  readonly store: KeyStore<C>;
  /** Wraps new keys. */
  readonly kms: KmsProvider;
  /** Further providers, which unwrap what they have wrapped. Defaults to none. */
  readonly otherKms?: readonly KmsProvider[] | undefined;
  /** Bound into every wrapped key and key record. */
  readonly application: string;
  /** Suite of the data keys created from now on; existing ones keep theirs. */
  readonly suite: CipherSuite;
  /** How data keys draw their nonces. Defaults to {@link defaultNonces}. */
  readonly nonces?: NonceMode | undefined;
  readonly cache?: KeyCacheOptions | undefined;
  readonly onEvent?: KeyEventListener | undefined;
  /** Milliseconds, by which keys age. Never goes back. Defaults to an {@link elapsedClock}. */
  readonly clock?: (() => number) | undefined;
  /** By key name. Defaults to none. */
  readonly policies?: KeyPolicies | undefined;
  /** Records every change of a key. Defaults to none. */
  readonly audit?:
    { readonly entries: AuditStore<C>; readonly options: AuditOptions | false } | undefined;
  /** Remembers outside of the database how new the key table was; needs `audit`. Defaults to none. */
  readonly anchor?: KeyTableAnchor | undefined;
  /** For the dates in the key table, by which nothing is ordered. Defaults to the system's time. */
  /**
   * The time that policies go by, and that of audit entries and backups. Defaults to the store's for
   * policies, to the system's for the others. Dates and waits of keys are the store's in any case.
   */
  readonly wallClock?: (() => Date) | undefined;
}

/**
 * The data keys and the index root of one application and database: fetched, unwrapped and created
 * asynchronously by `prepare`, `load` and `rotate`, then used synchronously as a {@link KeySource}.
 *
 * A key in memory is asked for again in the background after `cache.ttlMs`, and is not used after
 * `cache.maxAgeMs` unless the key table and the KMS have confirmed it meanwhile.
 *
 * @typeParam C - the caller's connection, handed through to the store.
 */
export class KeyManager<C = unknown> implements KeySource {
  readonly #services: KeyServices<C>;
  readonly #current: CurrentKeys<C>;
  readonly #ring: KeyRing<C>;
  #generation = 0;
  /** Undefined where nothing is recorded. */
  readonly audit: KeyAudit<C> | undefined;
  /** What operators do to keys. */
  readonly operations: KeyOperations<C>;

  /** @throws {@link ConfigurationError} for cache limits that cannot work */
  constructor(options: KeyManagerOptions<C>) {
    this.#services = keyServices(options);
    this.audit = this.#services.audit;
    this.#ring = new KeyRing(this.#services);
    this.#current = new CurrentKeys(this.#services, (key, confirmedAt) => {
      this.#ring.add(key, confirmedAt);
    });
    this.operations = new KeyOperations(this.#services, {
      accept: (created) => {
        this.#current.acceptActivated(created);
      },
      retire: (keyId) => {
        this.#current.retire(keyId);
      },
      forget: (keyId) => {
        this.#current.retire(keyId);
        this.#ring.forget(keyId);
      },
      retireAll: () => {
        this.#current.retireAll();
      },
      withdraw: (name, reason) => {
        this.#current.withdraw('data', name, reason);
      },
      refreshIndexRoots: () => this.#current.confirm([], true),
    });
  }

  get cachePolicy(): KeyCachePolicy {
    return this.#services.policy;
  }

  /**
   * Makes the active keys of these names, and with `index` the index root, usable synchronously.
   * Creates the first version of a name that has none.
   *
   * Without a key table it still resolves, so that a DataSource can be initialized to create
   * the table; `activeKey` then says what is missing.
   *
   * @param connection - the connection the caller holds, if any; reads go through it, and the KMS is
   * waited for briefly.
   * @param options - `insists` asks also right after a failure, which is otherwise remembered for a second.
   * @returns undefined, having done nothing, when all of them are fresh, or are fresh enough to
   * serve while they are refreshed in the background; else a promise to await.
   * @throws (by rejection) {@link KmsUnavailableError}, {@link KeyUnwrapError},
   * {@link KeyStateError}, {@link UnsupportedCipherSuiteError}, or what the database threw
   */
  prepare(
    names: readonly string[],
    options: { readonly index: boolean; readonly insists?: boolean },
    connection?: C,
  ): Promise<void> | undefined {
    return this.#current.prepare(names, options, connection);
  }

  /**
   * Makes sure that these are the active keys now, and not those of up to `ttlMs` ago, for work that
   * begins with another process's rotation.
   *
   * @throws (by rejection) the same errors as {@link KeyManager.prepare}
   */
  confirm(names: readonly string[], { index }: { readonly index: boolean }): Promise<void> {
    return this.#current.confirm(names, index);
  }

  /**
   * Fetches and unwraps the keys of these ciphertext prefixes that are not in memory, with one call
   * to the store for all of them.
   *
   * A key that cannot be had does not reject it: `keyByPrefix` throws the reason for that key, and
   * the others can be used.
   *
   * @throws (by rejection) what the database threw
   */
  load(prefixes: readonly string[], connection?: C): Promise<void> {
    return this.#ring.load(prefixes, connection);
  }

  /**
   * Tells which of these prefixes `load` would fetch: those not in memory, or past their maximum
   * age, and not just found to be unknown or unusable. Starts a background refresh of those that
   * are due for one.
   */
  missing(prefixes: Iterable<string>): string[] {
    return this.#ring.missing(prefixes);
  }

  /** {@inheritDoc KeySource.activeKey} */
  activeKey(name: string): DataKey {
    return this.#current.dataKey(name);
  }

  /** How an active data key, or the root of the blind indexes, stands in memory. Asks nobody. */
  standing(purpose: 'data' | 'index', name = INDEX_ROOT_NAME): KeyStanding {
    return this.#current.standing(purpose, name);
  }

  /** {@inheritDoc KeySource.keyByPrefix} */
  keyByPrefix(prefix: string): DataKey {
    return this.#ring.keyByPrefix(prefix);
  }

  /** {@inheritDoc KeySource.indexRoots} */
  indexRoots(): IndexRoots {
    return this.#current.indexRoots();
  }

  /**
   * Runs `work`, which is synchronous, and says which active keys it has used, so that what was made
   * with them can be held back when it comes to be sent after they are too old.
   */
  noting<T>(work: () => T): readonly [result: T, used: UsedKeys] {
    return this.#current.noting(work);
  }

  /**
   * Makes a new active version of a data key; the previous one reads on. When another process
   * rotates the same key at the same time, both get the version that came about.
   *
   * @throws {@link ConfigurationError} without a key table, {@link KeyUnwrapError} when the present
   * version does not unwrap under this KEK, {@link KmsUnavailableError}, {@link KeyStateError}
   */
  async rotate(name: string): Promise<KeyInfo> {
    const { lifecycle, table } = this.#services;
    const generation = this.#generation;
    await table.requireReady();
    const created = await lifecycle.rotate(name);
    if (generation === this.#generation) this.#current.acceptActivated(created);
    return keyInfo(created.record, this.#services.policies);
  }

  /**
   * Lists every data key, by name and version.
   *
   * @throws {@link ConfigurationError} without a key table
   */
  async list(): Promise<KeyInfo[]> {
    await this.#services.table.require();
    const { policies, store, uses } = this.#services;
    return keyInfos(uses.counted(await store.list()), policies);
  }

  /** Emits an event, as the keys do. */
  tell(event: KeyEvent): void {
    this.#services.emit(event);
  }

  /**
   * Refuses a key table that is older than its anchor.
   *
   * @throws {@link KeyStateError} that names the keys
   */
  async requireNewest(): Promise<void> {
    const older = (await this.audit?.anchor?.compare()) ?? [];
    if (older.length > 0) throw olderThanAnchor(older, this.#services.wrapper.epochs.newest);
  }

  /** Adds to the key table how often keys were used, before the connections close. Never rejects. */
  addUsesAtEnd(): Promise<void> {
    return this.#services.uses.flushAtEnd();
  }

  /** Forgets every key and closes the KMS providers. A later `prepare` begins anew. */
  async close(): Promise<void> {
    this.#generation += 1;
    this.#current.clear();
    this.#ring.clear();
    this.audit?.clear();
    this.#services.wrapper.forgetRequests();
    this.#services.wrapper.epochs.clear();
    this.#services.table.forget();
    await this.#services.wrapper.providers.close();
  }
}

function keyServices<C>(options: KeyManagerOptions<C>): KeyServices<C> {
  const { kms, application, suite } = options;
  const { policies = {}, wallClock } = options;
  const policy = keyCachePolicy(options.cache);
  const loading = new OwnLoading();
  const emit = quietly(options.onEvent, loading);
  const uses = new KeyUses(options.store, emit);
  const wrapper = new KeyWrapper(kms, application, {
    others: options.otherKms,
    nonces: options.nonces,
    counterOf: (keyId) => uses.counterOf(keyId),
    heldWaitMs: policy.transactionWaitMs,
  });
  const exactClock = options.clock ?? elapsedClock();
  const clock = options.clock ?? turnClock(exactClock);
  const { maxAgeMs } = policy;
  const timely = new TimelyKeyStore(options.store);
  const watched = new WatchedKeyStore(timely, wrapper.epochs, async (connection) => {
    await audit?.anchor?.advance(connection);
  });
  const audit: KeyAudit<C> | undefined =
    options.audit &&
    new KeyAudit({
      ...options.audit,
      ...{ store: watched, wrapper, application, anchor: options.anchor },
      ...{ maxAgeMs, clock, emit, wallClock: wallClock ?? systemTime },
    });
  const store = audit ? new AuditedKeyStore(watched, audit) : watched;
  const lifecycle = new KeyLifecycle({ store, wrapper, audit, suite, policies, emit });
  return {
    application,
    store,
    wrapper,
    uses,
    emit,
    lifecycle,
    policies,
    loading,
    wallClock: wallClock ?? systemTime,
    policyTime: () => (wallClock === undefined ? store.now() : Promise.resolve(wallClock())),
    audit,
    table: new KeyTable(store, audit?.anchor),
    retirement: new KeyRetirement({ store, lifecycle, wrapper, epochs: wrapper.epochs, emit }),
    policy,
    clock,
    exactClock,
  };
}

function systemTime(): Date {
  return new Date();
}

function quietly(listener: KeyEventListener | undefined, loading: OwnLoading): KeyEventListener {
  return (event: KeyEvent) => {
    try {
      loading.outside(() => listener?.(event));
    } catch {
      // An observer must not stop an operation.
    }
  };
}
