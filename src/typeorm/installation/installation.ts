import type { DataSource, EntityMetadata, QueryRunner } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { AccessControl } from '../../access/access-control';
import type { Repetition } from '../../async/repetition';
import { waitBriefly } from '../../async/time-limit';
import { backendChoice } from '../../crypto/native';
import type { BackendChoice } from '../../crypto/native';
import { ConfigurationError, FieldEncryptionError } from '../../errors';
import type { KeyAudit } from '../../keys/audit/key-audit';
import type { KeyManager } from '../../keys/key-manager';
import type { Scope } from '../../keys/record/scope';
import type { KeysToPrepare } from '../../keys/scopes/wanted-key';
import { notWhileHeld } from '../../keys/wrapping/kms-client';
import { giveBack, onPrimary } from '../connection/lent-connection';
import type { CheckedOptions } from '../declare/field-encryption-options';
import { dialectOf } from '../dialect/dialect-of';
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
import { startAccessLog } from './new-access-log';
import { startGuard } from './new-guard';
import { installedApprovals } from './installed-approvals';
import type { InstalledApprovals } from './installed-approvals';
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
  /** Schedules, which are stopped before the DataSource is destroyed. */
  readonly schedules = new Set<Pick<Repetition, 'stop'>>();
  readonly access: AccessControl;
  /** Set while the DataSource is initialized, as is the guard. */
  accessLog: ReturnType<typeof startAccessLog>;
  guard: ReturnType<typeof startGuard>;
  readonly approvals: InstalledApprovals;
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
    this.approvals = installedApprovals(this);
    this.#keys = newKeyManager(this);
    this.access = new AccessControl(options.access, (event) => this.audit.note(event));
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
    await dialectOf(dataSource).requireSettings?.(dataSource, [...this.#columns.byEntity.keys()]);
    if (this.#columns.scoped) this.#keys.serveScopes();
    this.#isOpen = true;
    this.accessLog ??= startAccessLog(this);
    this.guard ??= startGuard(this);
    this.#views = await checkViews(dataSource, this.#columns);
    this.parameterLimit = await dialectOf(dataSource).values.maxParameters(dataSource);
  }

  /** Returns an encrypted column that the view at a place is over, if any; see `table-place.ts`. */
  columnOfView(place: string): EncryptedColumn | undefined {
    return this.#views.get(place);
  }

  /** Ends what goes on in the background and still needs the database. */
  async stop(): Promise<void> {
    await Promise.all([...this.schedules].map((schedule) => schedule.stop()));
    this.schedules.clear();
    this.accessLog = undefined;
    this.guard = undefined;
    await this.access.flush();
  }

  /** Forgets all keys; the next `initialize()` starts afresh. */
  async close(): Promise<void> {
    const closing = this.#keys;
    this.#keys = newKeyManager(this);
    this.approvals.policies.forget();
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
    return this.#keys.prepare(
      keyNames,
      { index: needsIndexRoot },
      onPrimary(this.dataSource, queryRunner),
    );
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
    const connection = onPrimary(this.dataSource, queryRunner);
    const asked = ask(connection);
    if (asked === undefined || connection !== undefined) return asked;
    const { transactionWaitMs } = this.#keys.cachePolicy;
    return waitBriefly(asked, transactionWaitMs, () => notWhileHeld([], transactionWaitMs));
  }
}
