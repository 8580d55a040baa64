import { ConfigurationError } from '../errors';

import type { KeyAudit } from './audit/key-audit';
import { olderThanAnchor } from './anchor/anchor-discrepancy';
import { CurrentKeys } from './cache/current-keys';
import type { KeyStanding } from './cache/current-keys';
import type { KeyCachePolicy } from './cache/key-cache';
import { KeyPreparation } from './cache/key-preparation';
import { KeyRing } from './cache/key-ring';
import type { UsedKeys } from './cache/used-keys';
import { KeyOperations } from './key-operations';
import { keyServices } from './key-services';
import type { KeyManagerOptions, KeyServices } from './key-services';
import type { DataKey, IndexRoots, KeySource } from './key-source';
import type { EncryptedRows } from './lifecycle/encrypted-rows';
import type { ApprovedMaintenance, MaintenanceReport } from './lifecycle/maintenance-report';
import { keyInfo, keyInfos } from './policy/key-policy';
import type { KeyEvent } from './record/key-event';
import type { KeyInfo } from './record/key-info';
import { INDEX_ROOT_NAME } from './record/key-record';
import type { Scope } from './record/scope';
import { KeysOfScopes } from './scopes/keys-of-scopes';
import type { ScopeOptions } from './scopes/scope-key-store';
import { ScopeOperations } from './scopes/scope-operations';
import { SigningKeys } from './signing/signing-keys';

/**
 * The data keys and the index root of one application and database: fetched, unwrapped and created
 * asynchronously by `prepare`, `load` and `rotate`, then used synchronously as a {@link KeySource}.
 *
 * A key in memory is refreshed in the background after `cache.ttlMs`, and is not used after
 * `cache.maxAgeMs` unless the key table and the KMS have confirmed it meanwhile.
 *
 * @typeParam C - the caller's connection, passed through to the store.
 */
export class KeyManager<C = unknown> implements KeySource {
  readonly #services: KeyServices<C>;
  readonly #ring: KeyRing<C>;
  readonly #current: CurrentKeys;
  readonly #preparation: KeyPreparation<C>;
  readonly #scopeOptions: ScopeOptions<C> | undefined;
  /** Undefined where no column has keys of scopes. */
  #scopes: KeysOfScopes<C> | undefined;
  /** Undefined where nothing is recorded. */
  readonly audit: KeyAudit<C> | undefined;
  /** The operators' side. */
  readonly operations: KeyOperations<C>;

  /** @throws {@link ConfigurationError} for cache limits that cannot work */
  constructor(options: KeyManagerOptions<C>) {
    this.#services = keyServices(options);
    this.audit = this.#services.audit;
    this.#ring = new KeyRing(this.#services);
    this.#current = new CurrentKeys(this.#services, this.#ring);
    this.#preparation = new KeyPreparation(this.#services, this.#current, this.#ring);
    this.#scopeOptions = options.scopes;
    this.operations = new KeyOperations(this.#services, {
      current: this.#current,
      ring: this.#ring,
      preparation: this.#preparation,
    });
  }

  /** The keys of scopes. Throws for a manager that has none. */
  get scopes(): KeysOfScopes<C> {
    if (this.#scopes !== undefined) return this.#scopes;
    throw new ConfigurationError('No encrypted property has keys of a scope.');
  }

  /** The operators' side of these. */
  get scopeOperations(): ScopeOperations<C> {
    return new ScopeOperations(this.#services, this.scopes);
  }

  /** The keys that sign. */
  get signing(): SigningKeys<C> {
    return new SigningKeys(this.#services);
  }

  /** See `KeyOperations.maintain`; for keys of scopes of these kinds, too. */
  async maintain(
    options: ApprovedMaintenance,
    rows: EncryptedRows<C>,
    kinds: readonly string[],
  ): Promise<MaintenanceReport> {
    const report = await this.operations.maintain(options, rows);
    if (kinds.length === 0) return report;
    const { scopes, failures } = await this.scopeOperations.maintain(
      kinds,
      options.dryRun === true,
    );
    return { ...report, scopes, failures: [...report.failures, ...failures] };
  }

  /** Begins to serve the keys of scopes, which takes a table of its own. */
  serveScopes(): void {
    this.#scopes ??=
      this.#scopeOptions &&
      new KeysOfScopes(this.#services, this.#scopeOptions, {
        current: this.#current,
        ring: this.#ring,
        preparation: this.#preparation,
      });
  }

  /** How many data keys for reading are in memory. */
  get keysInMemory(): number {
    return this.#ring.size + (this.#scopes?.ring.size ?? 0);
  }

  get cachePolicy(): KeyCachePolicy {
    return this.#services.policy;
  }

  /**
   * Makes the active keys of these names, and with `index` the index root, usable synchronously.
   * Creates the first version of a name that has none.
   *
   * Without a key table it still resolves, so that it can be created; `activeKey` then says what is missing.
   *
   * @param connection - the caller's, if it holds one: reads go through it, and the wait for the KMS is brief.
   * @param options - `insists` retries even right after a failure, which is otherwise remembered for a second.
   * @returns undefined if all are fresh, or serve while they are refreshed in the background; else a promise.
   * @throws (by rejection) {@link KmsUnavailableError}, {@link KeyUnwrapError},
   * {@link KeyStateError}, {@link UnsupportedCipherSuiteError}, or what the database threw
   */
  prepare(
    names: readonly string[],
    options: { readonly index: boolean; readonly insists?: boolean },
    connection?: C,
  ): Promise<void> | undefined {
    return this.#preparation.prepare(names, options, connection);
  }

  /**
   * Makes sure that these are the active keys now, and not those of up to `ttlMs` ago, for work that
   * follows another process's rotation.
   *
   * @throws (by rejection) the same errors as {@link KeyManager.prepare}
   */
  confirm(names: readonly string[], { index }: { readonly index: boolean }): Promise<void> {
    return this.#preparation.confirm(names, index);
  }

  /**
   * Fetches and unwraps the keys of these ciphertext prefixes that are not in memory, with one call to the store.
   * A key that fails does not reject it: `keyByPrefix` throws the reason for that one.
   *
   * @throws (by rejection) what the database threw
   */
  load(prefixes: readonly string[], connection?: C): Promise<void> {
    return (this.#scopes?.ring ?? this.#ring).load(prefixes, connection);
  }

  /**
   * Returns the prefixes that `load` would fetch: those not in memory, or past their maximum age, which did not fail a
   * moment ago. Refreshes those that are due in the background.
   */
  missing(prefixes: Iterable<string>): string[] {
    return (this.#scopes?.ring ?? this.#ring).missing(prefixes);
  }

  /** {@inheritDoc KeySource.activeKey} */
  activeKey(name: string, scope?: Scope): DataKey {
    return scope === undefined ? this.#current.dataKey(name) : this.scopes.active.dataKey(scope);
  }

  /** Describes an active data key, or the root of the blind indexes, as it is in memory. Does no I/O. */
  standing(purpose: 'data' | 'index', name = INDEX_ROOT_NAME): KeyStanding {
    return this.#current.standing(purpose, name);
  }

  /** {@inheritDoc KeySource.keyByPrefix} */
  keyByPrefix(prefix: string): DataKey {
    return (this.#scopes?.ring ?? this.#ring).keyByPrefix(prefix);
  }

  /** {@inheritDoc KeySource.indexRoots} */
  indexRoots(scope?: Scope): IndexRoots {
    return scope === undefined ? this.#current.indexRoots() : this.scopes.active.indexRoots(scope);
  }

  /**
   * Runs synchronous `work` and returns the active keys that it used, so that a statement made with them
   * is not sent once they are too old.
   */
  noting<T>(work: () => T): readonly [result: T, used: UsedKeys] {
    return this.#current.noting(work);
  }

  /**
   * Creates a new active version of a data key; the previous one still decrypts. If another process
   * rotates the same key at the same time, both get the version of the winner.
   *
   * @throws {@link ConfigurationError} without a key table, {@link KeyUnwrapError} when the present
   * version does not unwrap under this KEK, {@link KmsUnavailableError}, {@link KeyStateError}
   */
  async rotate(name: string): Promise<KeyInfo> {
    const { lifecycle, lifetime, policies, table } = this.#services;
    const isOpen = lifetime.current();
    await table.requireReady();
    const created = await lifecycle.rotate(name);
    if (isOpen()) this.#current.acceptActivated(created);
    return keyInfo(created.record, policies);
  }

  /** Lists the keys of a purpose, data keys by default. Throws {@link ConfigurationError} without a key table. */
  async list(purpose?: KeyInfo['purpose'], connection?: C): Promise<KeyInfo[]> {
    await this.#services.table.require(connection);
    const { policies, store, uses } = this.#services;
    return keyInfos(uses.counted(await store.list(connection)), policies, purpose);
  }

  /** Emits an event. */
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

  /** Adds the counted uses of keys to the key table, before the connections close. Never rejects. */
  addUsesAtEnd(): Promise<void> {
    return this.#services.uses.flushAtEnd();
  }

  /** Forgets every key and closes the KMS providers. A later `prepare` begins anew. */
  async close(): Promise<void> {
    const { lifetime, table, wrapper } = this.#services;
    lifetime.end();
    this.#preparation.clear();
    this.#current.clear();
    this.#ring.clear();
    this.#scopes?.close();
    this.audit?.clear();
    wrapper.forgetRequests();
    wrapper.epochs.clear();
    table.forget();
    await wrapper.providers.close();
  }
}
