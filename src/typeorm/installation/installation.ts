import type { DataSource, EntityMetadata, QueryRunner } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { ConfigurationError, FieldEncryptionError } from '../../errors';
import type { BackendChoice } from '../../crypto/native';
import { backendChoice } from '../../crypto/native';
import type { KeyEvent } from '../../keys/record/key-event';
import type { KeyAudit } from '../../keys/audit/key-audit';
import { waitBriefly } from '../../async/time-limit';
import { notWhileHeld } from '../../keys/wrapping/kms-client';
import { KeyManager } from '../../keys/key-manager';
import { giveBack } from '../connection/lent-connection';
import type {
  EncryptedColumn,
  EncryptedEntity,
  EncryptedColumns,
} from '../metadata/encrypted-column';
import { checkViews } from '../sql/encrypted-views';
import type { FieldEncryptionOptions } from '../declare/field-encryption-options';
import { CheckedStatements } from './checked-statements';
import { ONE_COPY } from '../declare/column-guard';
import { parameterLimit } from '../connection/sql-dialect';
import { warningOf } from './event-warnings';
import { hasNamedApplication } from '../declare/field-encryption-options';
import { keysOfStoredValues, hasStoredTokens } from './stored-samples';
import { takeOver } from './encrypted-columns';
import { TypeormAuditStore } from '../tables/typeorm-audit-store';
import { TypeormKeyStore } from '../tables/typeorm-key-store';

const installations = new WeakMap<DataSource, Installation>();
/** Of a wrapped DataSource, for all copies of this library. */
const WRAPPED = Symbol.for('typeorm-field-encryption:wrapped');

/** What `withFieldEncryption` has put behind a DataSource. Throws for one it has not met. */
export function installationOf(dataSource: DataSource): Installation {
  const installation = installations.get(dataSource);
  if (installation !== undefined) return installation;
  assertNotWrappedByOther(dataSource);
  throw new ConfigurationError(
    'This DataSource has no field encryption. Pass it through withFieldEncryption(dataSource, options) ' +
      'before initialize().',
  );
}

/** Whether `withFieldEncryption` has met the DataSource. */
export function isInstalled(dataSource: DataSource): boolean {
  return installations.has(dataSource);
}

/** Throws for a DataSource that another copy of this library has wrapped. */
export function assertNotWrappedByOther(dataSource: DataSource): void {
  if (!(WRAPPED in dataSource) || isInstalled(dataSource)) return;
  throw new ConfigurationError(
    `The DataSource was wrapped by another copy of typeorm-field-encryption. ${ONE_COPY}`,
  );
}

/** Something that runs by itself until it is stopped. */
interface Stoppable {
  stop(): Promise<void>;
}

/** The encryption of one DataSource: its encrypted columns and its keys. */
export class Installation {
  readonly dataSource: DataSource;
  readonly options: FieldEncryptionOptions;
  readonly backend: BackendChoice = backendChoice();
  readonly store: TypeormKeyStore;
  readonly checked = new CheckedStatements();
  /** Whether `initialize()` makes the keys ready. The command line turns it off, to look without creating any. */
  preparesAtStart = true;
  /** How many parameters the database takes in one statement. */
  parameterLimit = Infinity;
  readonly #schedules = new Set<Stoppable>();
  #keys: KeyManager<QueryRunner>;
  /** Kept when the DataSource is destroyed: what is under way then must neither read ciphertext nor write cleartext. */
  #columns: EncryptedColumns | undefined;
  #views: ReadonlyMap<string, EncryptedColumn> = new Map();
  #isOpen = false;
  /** Why the keys were not ready when somebody was last told. */
  #toldNotReady: string | undefined;

  constructor(dataSource: DataSource, options: FieldEncryptionOptions) {
    this.dataSource = dataSource;
    this.options = options;
    this.store = new TypeormKeyStore(dataSource, {
      hasTokens: (runner) => hasStoredTokens(this.columns, runner),
      keysOf: (name, runner) => keysOfStoredValues(this.columns, name, runner),
    });
    this.#keys = this.#newKeyManager();
    installations.set(dataSource, this);
    Object.defineProperty(dataSource, WRAPPED, { value: true });
  }

  get keys(): KeyManager<QueryRunner> {
    return this.#keys;
  }

  /** The audit log; `record` is for what is no change of a key, such as a run over rows. */
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

  /** Takes the metadata over that TypeORM has just built; anew at each `initialize()`. */
  async takeOverMetadata(): Promise<void> {
    const { dataSource, options } = this;
    this.#columns = takeOver({ dataSource, options, keys: this.#keys });
    this.#isOpen = true;
    this.#views = await checkViews(dataSource, this.#columns);
    this.parameterLimit = await parameterLimit(dataSource);
  }

  /** An encrypted column of the view at a place, if it is over one; see `table-place.ts`. */
  columnOfView(place: string): EncryptedColumn | undefined {
    return this.#views.get(place);
  }

  /** Has a schedule stopped before the DataSource is destroyed. */
  schedule<T extends Stoppable>(schedule: T): T {
    this.#schedules.add(schedule);
    return schedule;
  }

  /** Ends what runs by itself. */
  async stopSchedules(): Promise<void> {
    const schedules = [...this.#schedules];
    this.#schedules.clear();
    await Promise.all(schedules.map((schedule) => schedule.stop()));
  }

  /** Forgets all keys; the next `initialize()` begins afresh. */
  async close(): Promise<void> {
    const closing = this.#keys;
    this.#keys = this.#newKeyManager();
    this.#isOpen = false;
    this.#toldNotReady = undefined;
    await closing.close();
    const formats = new Set(Object.values(this.options.previousFormats ?? {}));
    for (const format of formats) await format.close?.();
  }

  /** An arrow function, so that it can be taken out of the object in hot paths. */
  readonly encryptedEntity = (metadata: EntityMetadata): EncryptedEntity | undefined =>
    this.#columns?.byEntity.get(metadata);

  readonly encryptedColumn = (column: ColumnMetadata): EncryptedColumn | undefined =>
    this.#columns?.byColumn.get(column);

  /** Makes every key ready that the entities of this DataSource write with. */
  async prepareAll(): Promise<void> {
    const { keyNames, indexed } = this.columns;
    if (keyNames.length > 0) await this.#keys.prepare(keyNames, { index: indexed, insists: true });
  }

  /** {@link Installation.prepareAll} with what the key table says at this moment. */
  async confirmAll(): Promise<void> {
    const { keyNames, indexed } = this.columns;
    if (keyNames.length > 0) await this.#keys.confirm(keyNames, { index: indexed });
  }

  /** {@link Installation.prepareAll}, which lets a missing key table pass; this does not. */
  async requireAll(): Promise<void> {
    await this.prepareAll();
    const { keyNames, indexed } = this.columns;
    for (const name of keyNames) this.#keys.activeKey(name);
    if (indexed) this.#keys.indexRoots();
    await this.#keys.requireNewest();
  }

  /** Tells, once for each `initialize()`, that nothing keeps the keys apart from another application's. */
  warnOfDefaultApplication(): void {
    if (this.columns.keyNames.length === 0 || hasNamedApplication(this.options)) return;
    this.#keys.tell({ type: 'applicationNotNamed' });
  }

  /** {@link Installation.prepareAll}, but schema commands must work without keys: the first use says what is wrong. */
  async prepareAtStart(): Promise<void> {
    if (!this.preparesAtStart) return;
    try {
      if (await this.store.exists()) await this.prepareAll();
    } catch (error) {
      if (!(error instanceof FieldEncryptionError)) throw error;
      const { code, message } = error;
      // TypeORM synchronizes within initialize(), and both come here.
      if (message !== this.#toldNotReady) this.#tell({ type: 'notReady', code, message });
      this.#toldNotReady = message;
      return;
    }
    this.#toldNotReady = undefined;
  }

  /** What an operator has to hear of goes to TypeORM's logger, too: `onEvent` is often not set. */
  readonly #tell = (event: KeyEvent): void => {
    const warning = warningOf(event);
    if (warning !== undefined) this.dataSource.logger.log('warn', `field encryption: ${warning}`);
    try {
      this.options.onEvent?.(event);
    } catch {
      // An observer must not stop an operation.
    }
  };

  /** Makes the keys ready for a write to one entity. Returns undefined where they are. */
  prepareWrite(
    { keyNames, indexed }: EncryptedEntity,
    queryRunner: QueryRunner | undefined,
  ): Promise<void> | undefined {
    return this.#keys.prepare(keyNames, { index: indexed }, this.#onPrimary(queryRunner));
  }

  /** Makes the active data key of a name ready. */
  async prepareDataKey(name: string, queryRunner: QueryRunner | undefined): Promise<void> {
    await this.#ask(queryRunner, (connection) =>
      this.#keys.prepare([name], { index: false }, connection),
    );
  }

  /** Makes the root of the blind indexes ready. */
  async prepareIndexRoot(queryRunner: QueryRunner | undefined): Promise<void> {
    await this.#ask(queryRunner, (connection) =>
      this.#keys.prepare([], { index: true }, connection),
    );
  }

  /** Fetches the data keys behind header prefixes that are not in memory, all at once; undefined where all are. */
  loadKeys(prefixes: Iterable<string>, queryRunner?: QueryRunner): Promise<void> | undefined {
    const missing = this.#keys.missing(prefixes);
    if (missing.length === 0) return undefined;
    return this.#ask(queryRunner, (connection) => this.#keys.load(missing, connection));
  }

  /** Asks for keys that may have to come from the KMS, with as little of the pool held as can be. */
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
   * A replica may lag behind the key table: keys are read from the primary, on a connection of their
   * own. Without replication, too, TypeORM reads in the mode 'slave', from the one pool there is,
   * whose last connection this may be.
   */
  #onPrimary(queryRunner: QueryRunner | undefined): QueryRunner | undefined {
    const { isReplicated } = this.dataSource.driver;
    return isReplicated && queryRunner?.getReplicationMode() === 'slave' ? undefined : queryRunner;
  }

  /** What an operator has to hear of also where nobody listens to events. */
  #newKeyManager(): KeyManager<QueryRunner> {
    const {
      kms,
      otherKms,
      application = 'default',
      suite = 'xaes-256-gcm',
      nonces,
      keyCache,
      keyPolicies,
      now,
      audit = {},
      anchor,
    } = this.options;
    return new KeyManager<QueryRunner>({
      store: this.store,
      kms,
      otherKms,
      application,
      suite,
      nonces,
      cache: keyCache ?? {},
      onEvent: this.#tell,
      policies: keyPolicies,
      wallClock: now,
      anchor,
      audit: { entries: new TypeormAuditStore(this.dataSource), options: audit },
    });
  }
}
