import type { DataSource, EntityMetadata, QueryRunner } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { waitBriefly } from '../../async/time-limit';
import { backendChoice } from '../../crypto/native';
import type { BackendChoice } from '../../crypto/native';
import { ConfigurationError, FieldEncryptionError } from '../../errors';
import type { KeyAudit } from '../../keys/audit/key-audit';
import type { KeyManager } from '../../keys/key-manager';
import type { Scope } from '../../keys/record/scope';
import type { KeysToPrepare } from '../../keys/scopes/wanted-key';
import type { MaintenanceSchedule } from '../../keys/lifecycle/maintenance-schedule';
import { notWhileHeld } from '../../keys/wrapping/kms-client';
import { giveBack } from '../connection/lent-connection';
import { parameterLimit } from '../connection/sql-dialect';
import { hasNamedApplication } from '../declare/field-encryption-options';
import type { CheckedOptions } from '../declare/field-encryption-options';
import type {
  EncryptedColumn,
  EncryptedColumns,
  EncryptedEntity,
} from '../metadata/encrypted-column';
import { checkViews } from '../sql/encrypted-views';
import { TypeormKeyStore } from '../tables/typeorm-key-store';

import { recordAcrossScopes } from './across-scopes';
import { CheckedStatements } from './checked-statements';
import { encryptMarkedColumns } from './encrypted-columns';
import { newKeyManager } from './new-key-manager';
import { hasStoredTokens, keysOfStoredValues } from './stored-samples';

/** The encryption of one DataSource: its encrypted columns and its keys. */
export class Installation {
  readonly dataSource: DataSource;
  readonly options: CheckedOptions;
  readonly backend: BackendChoice = backendChoice();
  readonly store: TypeormKeyStore;
  readonly checked = new CheckedStatements();
  /** Whether `initialize()` prepares the keys. The command line turns it off, to look without creating any. */
  preparesAtStart = true;
  /** How many parameters the database accepts in one statement. */
  parameterLimit = Infinity;
  readonly #schedules = new Set<MaintenanceSchedule>();
  #keys: KeyManager<QueryRunner>;
  /** Kept when the DataSource is destroyed: statements under way must neither read ciphertext nor write cleartext. */
  #columns: EncryptedColumns | undefined;
  #views: ReadonlyMap<string, EncryptedColumn> = new Map();
  #isOpen = false;
  /** The last reason that was reported for keys that are not ready. */
  #reportedReason: string | undefined;

  constructor(dataSource: DataSource, options: CheckedOptions) {
    this.dataSource = dataSource;
    this.options = options;
    this.store = new TypeormKeyStore(dataSource, {
      hasTokens: (runner) => hasStoredTokens(this.columns, runner),
      keysOf: (name, runner) => keysOfStoredValues(this.columns, name, runner),
    });
    this.#keys = newKeyManager(dataSource, this.store, options);
  }

  get keys(): KeyManager<QueryRunner> {
    return this.#keys;
  }

  /** The audit log; `record` is for operations that change no key, such as a run over rows. */
  get audit(): KeyAudit<QueryRunner> {
    const { audit } = this.#keys;
    if (audit !== undefined) return audit;
    throw new TypeError('the keys of an installation have an audit log');
  }

  /** Whether `initialize()` has built the metadata and `destroy()` was not called since. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The encrypted columns. Throws before `initialize()` has built the metadata. */
  get columns(): EncryptedColumns {
    if (this.#isOpen && this.#columns !== undefined) return this.#columns;
    throw new ConfigurationError(
      'The DataSource is not initialized. Await dataSource.initialize() first.',
    );
  }

  /** Turns the marked columns of the metadata into encrypted ones, each time that TypeORM has built it. */
  async encryptMarkedColumns(): Promise<void> {
    const { dataSource, options } = this;
    this.#columns = encryptMarkedColumns({ dataSource, options, keys: this.#keys });
    if (this.#columns.scoped) this.#keys.serveScopes();
    this.#isOpen = true;
    this.#views = await checkViews(dataSource, this.#columns);
    this.parameterLimit = await parameterLimit(dataSource);
  }

  /** Returns an encrypted column that the view at a place is over, if any; see `table-place.ts`. */
  columnOfView(place: string): EncryptedColumn | undefined {
    return this.#views.get(place);
  }

  /** Registers a schedule, which is stopped before the DataSource is destroyed. */
  schedule(schedule: MaintenanceSchedule): MaintenanceSchedule {
    this.#schedules.add(schedule);
    return schedule;
  }

  /** Stops all schedules. */
  async stopSchedules(): Promise<void> {
    const schedules = [...this.#schedules];
    this.#schedules.clear();
    await Promise.all(schedules.map((schedule) => schedule.stop()));
  }

  /** Forgets all keys; the next `initialize()` starts afresh. */
  async close(): Promise<void> {
    const closing = this.#keys;
    this.#keys = newKeyManager(this.dataSource, this.store, this.options);
    this.#isOpen = false;
    this.#reportedReason = undefined;
    await closing.close();
    const formats = new Set(Object.values(this.options.previousFormats ?? {}));
    for (const format of formats) await format.close?.();
  }

  /** Whether some columns have keys of scopes. */
  get hasScopes(): boolean {
    return this.#columns?.scoped === true;
  }

  /** An arrow function, so that it can be taken out of the object in hot paths. */
  readonly encryptedEntity = (metadata: EntityMetadata): EncryptedEntity | undefined =>
    this.#columns?.byEntity.get(metadata);

  readonly encryptedColumn = (column: ColumnMetadata): EncryptedColumn | undefined =>
    this.#columns?.byColumn.get(column);

  /** Prepares every key that the entities of this DataSource write with. */
  async prepareAll(): Promise<void> {
    const { keyNames, needsIndexRoot } = this.columns;
    if (keyNames.length > 0)
      await this.#keys.prepare(keyNames, { index: needsIndexRoot, insists: true });
  }

  /** {@link Installation.prepareAll}, by the key table as it is now. */
  async confirmAll(): Promise<void> {
    const { keyNames, needsIndexRoot } = this.columns;
    if (keyNames.length > 0) await this.#keys.confirm(keyNames, { index: needsIndexRoot });
  }

  /** {@link Installation.prepareAll}, but also throws if the key table is missing. */
  async requireAll(): Promise<void> {
    await this.prepareAll();
    const { keyNames, needsIndexRoot } = this.columns;
    for (const name of keyNames) this.#keys.activeKey(name);
    if (needsIndexRoot) this.#keys.indexRoots();
    await this.#keys.requireNewest();
  }

  /** Warns, once for each `initialize()`, that nothing keeps the keys apart from another application's. */
  warnOfDefaultApplication(): void {
    if (this.columns.keyNames.length === 0 || hasNamedApplication(this.options)) return;
    this.#keys.tell({ type: 'applicationNotNamed' });
  }

  /** {@link Installation.prepareAll}, but does not throw: schema commands must work without keys. */
  async prepareAtStart(): Promise<void> {
    if (!this.preparesAtStart) return;
    try {
      if (await this.store.exists()) await this.prepareAll();
    } catch (error) {
      if (!(error instanceof FieldEncryptionError)) throw error;
      const { code, message } = error;
      // TypeORM synchronizes within initialize(), and both call this.
      if (message !== this.#reportedReason) this.#keys.tell({ type: 'notReady', code, message });
      this.#reportedReason = message;
      return;
    }
    this.#reportedReason = undefined;
  }

  /** Prepares the keys for a write to one entity. Returns undefined if they are ready. */
  prepareWrite(
    { keyNames, needsIndexRoot }: EncryptedEntity,
    queryRunner: QueryRunner | undefined,
  ): Promise<void> | undefined {
    return this.#keys.prepare(keyNames, { index: needsIndexRoot }, this.#onPrimary(queryRunner));
  }

  /** Prepares the keys of scopes for writes and, with `index`, for tokens. Returns undefined if they are ready. */
  prepareScopes(
    scopes: readonly Scope[],
    how: KeysToPrepare,
    queryRunner: QueryRunner | undefined,
  ): Promise<void> | undefined {
    if (scopes.length === 0) return undefined;
    return this.#ask(queryRunner, (held) => this.#keys.scopes.active.prepare(scopes, how, held));
  }

  /** See {@link recordAcrossScopes}. */
  recordAcrossScopes(queryRunner: QueryRunner | undefined): Promise<void> | undefined {
    return recordAcrossScopes(this, queryRunner);
  }

  /** Prepares the active data key of a name. */
  async prepareDataKey(name: string, queryRunner: QueryRunner | undefined): Promise<void> {
    await this.#ask(queryRunner, (held) => this.#keys.prepare([name], { index: false }, held));
  }

  /** Prepares the root of the blind indexes. */
  async prepareIndexRoot(queryRunner: QueryRunner | undefined): Promise<void> {
    await this.#ask(queryRunner, (held) => this.#keys.prepare([], { index: true }, held));
  }

  /** Fetches the data keys of header prefixes that are not in memory, all at once; undefined if all are. */
  loadKeys(prefixes: Iterable<string>, queryRunner?: QueryRunner): Promise<void> | undefined {
    const needed = [...prefixes];
    const load = (): Promise<void> | undefined => {
      const missing = this.#keys.missing(needed);
      if (missing.length === 0) return undefined;
      return this.#ask(queryRunner, (held) => this.#keys.load(missing, held));
    };
    // A KMS that one of them waited for in vain may have let the others grow too old.
    return load()?.then(load);
  }

  /** Asks for keys that may have to come from the KMS, holding as few connections as possible. */
  #ask(
    queryRunner: QueryRunner | undefined,
    ask: (connection: QueryRunner | undefined) => Promise<void> | undefined,
  ): Promise<void> | undefined {
    if (giveBack(queryRunner)) return ask(undefined);
    const connection = this.#onPrimary(queryRunner);
    const asked = ask(connection);
    if (asked === undefined || connection !== undefined) return asked;
    const { transactionWaitMs } = this.#keys.cachePolicy;
    return waitBriefly(asked, transactionWaitMs, () => notWhileHeld([], transactionWaitMs));
  }

  /**
   * Returns the caller's connection unless it is to a replica, which may lag behind the key table. Without
   * replication TypeORM reads in the mode 'slave', too, from its only pool: this may be the last connection.
   */
  #onPrimary(queryRunner: QueryRunner | undefined): QueryRunner | undefined {
    const { isReplicated } = this.dataSource.driver;
    return isReplicated && queryRunner?.getReplicationMode() === 'slave' ? undefined : queryRunner;
  }
}
