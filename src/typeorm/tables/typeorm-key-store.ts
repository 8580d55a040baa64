import type { DataSource, QueryRunner, SelectQueryBuilder } from 'typeorm';
import { ConfigurationError, KeyNotFoundError, KeyStateError } from '../../errors';
import { CHANGE_MS } from '../../keys/store/watched-key-store';
import type { KeyPurpose, KeyRecord } from '../../keys/record/key-record';
import type { KeyState } from '../../keys/record/key-state';
import { READABLE_STATES } from '../../keys/record/key-state';
import type { KeyChange, KeyStore, KeyUpdate } from '../../keys/store/key-store';
import { nameTitle } from '../../keys/record/key-record';
import { databaseTimeSql } from '../connection/sql-dialect';
import {
  DataKeySchema,
  KEY_EPOCHS_MIGRATION,
  missingKeyColumns,
  asStored,
  mutableColumnsOf,
  recordOf,
  rowOf,
} from './data-key-table';
import type { DataKeyRow } from './data-key-table';
import { isWholeNumber } from './stored-row';
import { busyWithTransaction, inOwnTransaction } from '../connection/own-transaction';
import { soleConnection } from '../connection/sole-connection';
import { tableExists, withOwnTables } from '../connection/table-access';
import { isUniqueViolation } from '../connection/transient-conflict';

/** Ids in one statement; well under what SQLite and PostgreSQL take as parameters. */
const IDS_PER_QUERY = 500;

/** Data keys out of use are fetched by id, when a ciphertext names them. */
const CURRENT_STATES: Readonly<Record<KeyPurpose, readonly KeyState[]>> = {
  data: ['active', 'preActive'],
  index: READABLE_STATES,
  audit: ['active'],
};

/** What the rows of the entities say of the keys. */
export interface StoredUses {
  /** Whether a blind-index column holds tokens. */
  readonly hasTokens: (runner: QueryRunner) => Promise<boolean>;
  /** Ids of data keys of which there are values in columns that name this key. */
  readonly keysOf: (name: string, runner: QueryRunner) => Promise<string[]>;
}
/** `now()` is when the transaction began, or the statement outside of one. */
const SNAPSHOT_AGE_SQL =
  "SELECT CASE WHEN current_setting('transaction_isolation') LIKE 'read %' THEN 0 " +
  "ELSE date_part('epoch', clock_timestamp() - now()) * 1000 END AS ms";

/** SQLite keeps whatever is written into the column, and not all of it comes back as it was. */
const UNREADABLE_EPOCH_SQL = `NOT (epoch = CAST(epoch AS INTEGER) AND epoch BETWEEN 0 AND ${String(Number.MAX_SAFE_INTEGER)})`;

/** A process that is stopped in the middle must not commit a date of long ago when it goes on. */
const SOON_COMMITTED_SQL = `SET LOCAL idle_in_transaction_session_timeout = ${String(CHANGE_MS)}`;

/** The key table of a DataSource, read and written on its primary. */
export class TypeormKeyStore implements KeyStore<QueryRunner> {
  readonly #dataSource: DataSource;
  readonly #stored: StoredUses;

  constructor(dataSource: DataSource, stored: StoredUses) {
    this.#dataSource = dataSource;
    this.#stored = stored;
    // From before the first statement: one that is not known to be under way would join a transaction.
    soleConnection(dataSource);
  }

  async exists(connection?: QueryRunner): Promise<boolean> {
    const { tablePath } = this.#dataSource.getMetadata(DataKeySchema);
    return this.#withConnection(connection, async (runner) => {
      if (!(await tableExists(runner, tablePath))) return false;
      if ((await missingKeyColumns(runner)).length === 0) return true;
      throw keyTableOutdated();
    });
  }

  async findCurrent(
    purpose: KeyPurpose,
    names: readonly string[],
    connection?: QueryRunner,
  ): Promise<KeyRecord[]> {
    // PostgreSQL has no empty IN ().
    if (names.length === 0) return [];
    return this.#find(connection, (query) =>
      query
        .where('k.state IN (:...states) AND k.purpose = :purpose', {
          states: CURRENT_STATES[purpose],
          purpose,
        })
        .andWhere('k.name IN (:...names)', { names }),
    );
  }

  async findByIds(ids: readonly string[], connection?: QueryRunner): Promise<KeyRecord[]> {
    const records: KeyRecord[] = [];
    for (let at = 0; at < ids.length; at += IDS_PER_QUERY) {
      const page = ids.slice(at, at + IDS_PER_QUERY);
      records.push(
        ...(await this.#find(connection, (query) =>
          query.where('k.id IN (:...ids)', { ids: page }),
        )),
      );
    }
    return records;
  }

  async now(connection?: QueryRunner): Promise<Date> {
    const sql = `SELECT ${databaseTimeSql(this.#dataSource)} AS ms`;
    return this.#withConnection(connection, async (runner) => new Date(await number(runner, sql)));
  }

  /** SQLite lets nobody write who reads what is not the newest any more. */
  snapshotAge(connection: QueryRunner): Promise<number> {
    return this.#isPostgres ? number(connection, SNAPSHOT_AGE_SQL) : Promise.resolve(0);
  }

  async list(connection?: QueryRunner): Promise<KeyRecord[]> {
    return this.#find(connection, (query) => query);
  }

  async duplicates(connection?: QueryRunner): Promise<string[]> {
    return this.#withConnection(connection, async (runner) => {
      const query = runner.manager.createQueryBuilder(DataKeySchema, 'k', runner);
      query.select('k.id', 'id').groupBy('k.id').having('COUNT(*) > 1').cache(false);
      return (await query.getRawMany<{ id: string }>()).map(({ id }) => id);
    });
  }

  async keysOfStoredValues(name: string, connection?: QueryRunner): Promise<string[]> {
    return this.#withConnection(connection, (runner) => this.#stored.keysOf(name, runner));
  }

  requireInsertable(
    { purpose, name }: Pick<KeyRecord, 'purpose' | 'name'>,
    heldByCaller?: QueryRunner,
  ): void {
    if (heldByCaller?.isTransactionActive === true) throw notInTransaction(purpose, name);
  }

  async insertFirst(
    record: KeyRecord,
    heldByCaller?: QueryRunner,
    confirm: (connection: QueryRunner) => Promise<boolean> = () => Promise.resolve(true),
  ): Promise<boolean> {
    this.requireInsertable(record, heldByCaller);
    if (
      record.purpose === 'index' &&
      (await this.#withConnection(heldByCaller, this.#stored.hasTokens))
    ) {
      // Another process may have made the root since it was looked for, and written with it.
      const made = await this.findCurrent('index', [record.name], heldByCaller);
      if (made.length > 0) return false;
      throw indexRootLost();
    }
    return this.#inTransaction(heldByCaller, async (runner) => {
      await insert(runner, record);
      return confirm(runner);
    });
  }

  async apply(
    changes: readonly KeyChange[],
    confirm: (connection: QueryRunner) => Promise<boolean> = () => Promise.resolve(true),
  ): Promise<boolean> {
    return this.#inTransaction(undefined, async (runner) => {
      if (this.#isPostgres) await runner.query(SOON_COMMITTED_SQL);
      for (const change of changes) {
        if (change.type === 'insert') await insert(runner, change.record);
        else if (!(await update(runner, change.expected, change.set))) return false;
      }
      return confirm(runner);
    });
  }

  async addUses(id: string, uses: number): Promise<void> {
    await this.#withConnection(undefined, async (runner) => {
      // A rollback of the application would take the count with it.
      if (runner.isTransactionActive) throw busyWithTransaction();
      const update = runner.manager
        .createQueryBuilder()
        .update(DataKeySchema)
        .set({ useCount: () => `use_count + ${String(uses)}` })
        .where('id = :id', { id })
        .callListeners(false);
      await update.execute();
    });
  }

  get #isPostgres(): boolean {
    return this.#dataSource.options.type === 'postgres';
  }

  async #find(
    connection: QueryRunner | undefined,
    narrow: (query: SelectQueryBuilder<DataKeyRow>) => SelectQueryBuilder<DataKeyRow>,
  ): Promise<KeyRecord[]> {
    return this.#withConnection(connection, async (runner) => {
      const query = runner.manager.createQueryBuilder(DataKeySchema, 'k', runner);
      const rows = await narrow(query).callListeners(false).cache(false).getMany();
      return rows.map(recordOf);
    });
  }

  /** A transaction that another process won is answered by `false`. */
  async #inTransaction(
    connection: QueryRunner | undefined,
    work: (runner: QueryRunner) => Promise<boolean>,
  ): Promise<boolean> {
    try {
      return await inOwnTransaction(this.#dataSource, connection, work);
    } catch (error) {
      if (isUniqueViolation(error)) return false;
      throw error;
    }
  }

  #withConnection<T>(
    connection: QueryRunner | undefined,
    work: (runner: QueryRunner) => Promise<T>,
  ): Promise<T> {
    return withOwnTables(this.#dataSource, connection, work);
  }
}

async function number(runner: QueryRunner, sql: string): Promise<number> {
  const [row] = (await runner.query(sql)) as { readonly ms: number | string }[];
  return Number(row?.ms);
}

async function insert(runner: QueryRunner, record: KeyRecord): Promise<void> {
  await runner.manager
    .createQueryBuilder()
    .insert()
    .into(DataKeySchema)
    .values(rowOf(record))
    .callListeners(false)
    .updateEntity(false)
    .execute();
}

/** Whether the row was as expected and is changed now. */
async function update(runner: QueryRunner, expected: KeyRecord, set: KeyUpdate): Promise<boolean> {
  const { id, state, epoch, wrappedKey } = asStored(expected);
  const changed = { ...expected, ...set };
  const { affected } = await runner.manager
    .createQueryBuilder()
    .update(DataKeySchema)
    .set(mutableColumnsOf(changed))
    .where('id = :id AND state = :state AND wrapped_key = :wrappedKey', { id, state, wrappedKey })
    .andWhere(isWholeNumber(epoch) ? 'epoch = :epoch' : UNREADABLE_EPOCH_SQL, { epoch })
    .callListeners(false)
    .execute();
  const isInUse = changed.state === 'active' || changed.state === 'preActive';
  return affected === 1 || (!isInUse && Number(affected) > 1);
}

function keyTableOutdated(): ConfigurationError {
  return new ConfigurationError(
    'the key table of this database is from an earlier version: it lacks the columns epoch and application. ' +
      `Run the migrations of fieldEncryptionMigrations (${KEY_EPOCHS_MIGRATION}) or \`field-encryption init\`.`,
  );
}

function notInTransaction(purpose: KeyPurpose, name: string): KeyStateError {
  return new KeyStateError(
    `There is no ${nameTitle(purpose, name)} yet, and a key created inside a transaction would vanish with its rollback. ` +
      'It is being created beside it: try again. To have it before the first write, run `field-encryption init` ' +
      'or call fieldEncryption(dataSource).ready().',
    { retryable: true },
  );
}

/** Under a new root every lookup would miss, and unique indexes would let duplicates through. */
function indexRootLost(): KeyNotFoundError {
  return new KeyNotFoundError(
    'The root key of the blind indexes is missing, and there are tokens made with it. ' +
      'Restore its row of the key table from a backup; a new one would find none of them.',
  );
}
