import type { DataSource, QueryRunner, SelectQueryBuilder } from 'typeorm';

import { ConfigurationError, KeyNotFoundError, KeyStateError } from '../../errors';
import { nameTitle } from '../../keys/record/key-record';
import type { KeyPurpose, KeyRecord } from '../../keys/record/key-record';
import { READABLE_STATES } from '../../keys/record/key-state';
import type { KeyState } from '../../keys/record/key-state';
import type { KeyChange, KeyStore } from '../../keys/store/key-store';
import { pagesOf } from '../../keys/store/pages-of';
import { CHANGE_MS } from '../../keys/store/watched-key-store';
import { busyWithTransaction, inOwnTransaction } from '../connection/own-transaction';
import { soleConnection } from '../connection/sole-connection';
import { requireCommittedReads } from '../connection/committed-reads';
import { withOwnTables } from '../connection/table-access';
import { transactionStart } from '../connection/transaction-start';
import { isUniqueViolation } from '../connection/transient-conflict';
import { catalogOf, dialectOf } from '../dialect/dialect-of';

import { insertKey, recordOf, updateKey } from './data-key-row';
import { DataKeySchema, KEY_EPOCHS_MIGRATION, missingKeyColumns } from './data-key-table';
import type { DataKeyRow } from './data-key-table';

/** Ids in one statement; well under the parameter limit of any database. */
const IDS_PER_QUERY = 500;

/** The states of keys in use. Other data keys are fetched by id, when a ciphertext names them. */
const CURRENT_STATES: Readonly<Record<KeyPurpose, readonly KeyState[]>> = {
  data: ['active', 'preActive'],
  index: READABLE_STATES,
  audit: ['active'],
  signing: ['active'],
};

/** The uses of keys by stored rows of the entities. */
export interface StoredUses {
  /** Whether a blind-index column holds tokens. */
  readonly hasTokens: (runner: QueryRunner) => Promise<boolean>;
  /** Ids of the data keys that encrypted the values in columns of this key name. */
  readonly keysOf: (name: string, runner: QueryRunner) => Promise<string[]>;
}

/** The key table of a DataSource, read and written on its primary. */
export class TypeormKeyStore implements KeyStore<QueryRunner> {
  readonly #dataSource: DataSource;
  readonly #stored: StoredUses;

  constructor(dataSource: DataSource, stored: StoredUses) {
    this.#dataSource = dataSource;
    this.#stored = stored;
    // Before the first statement: an uncounted one would join a transaction.
    soleConnection(dataSource);
  }

  async exists(connection?: QueryRunner): Promise<boolean> {
    const { tablePath } = this.#dataSource.getMetadata(DataKeySchema);
    return withOwnTables(this.#dataSource, connection, async (runner) => {
      if (!(await catalogOf(runner).tableExists(runner, tablePath))) return false;
      if ((await missingKeyColumns(runner)).length === 0) return true;
      throw keyTableOutdated();
    });
  }

  async findCurrent(
    purpose: KeyPurpose,
    names: readonly string[],
    connection?: QueryRunner,
  ): Promise<KeyRecord[]> {
    // SQL has no empty IN ().
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
    for (const page of pagesOf(ids, IDS_PER_QUERY)) {
      records.push(
        ...(await this.#find(connection, (query) =>
          query.where('k.id IN (:...ids)', { ids: page }),
        )),
      );
    }
    return records;
  }

  async now(connection?: QueryRunner): Promise<Date> {
    const sql = `SELECT ${dialectOf(this.#dataSource).sql.now} AS ms`;
    return withOwnTables(this.#dataSource, connection, async (runner) => {
      const [row] = (await runner.query(sql)) as { readonly ms: number | string }[];
      return new Date(Number(row?.ms));
    });
  }

  snapshotAge(connection: QueryRunner): Promise<number> {
    const { transactions } = dialectOf(this.#dataSource);
    return transactions.snapshotAge(connection, transactionStart(connection));
  }

  async list(connection?: QueryRunner): Promise<KeyRecord[]> {
    return this.#find(connection, (query) => query);
  }

  async duplicates(connection?: QueryRunner): Promise<string[]> {
    return withOwnTables(this.#dataSource, connection, async (runner) => {
      const query = runner.manager.createQueryBuilder(DataKeySchema, 'k', runner);
      query.select('k.id', 'id').groupBy('k.id').having('COUNT(*) > 1').cache(false);
      return (await query.getRawMany<{ id: string }>()).map(({ id }) => id);
    });
  }

  async keysOfStoredValues(name: string, connection?: QueryRunner): Promise<string[]> {
    return withOwnTables(this.#dataSource, connection, (runner) =>
      this.#stored.keysOf(name, runner),
    );
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
      (await withOwnTables(this.#dataSource, heldByCaller, this.#stored.hasTokens))
    ) {
      // Another process may have made the root since it was looked for, and written with it.
      const made = await this.findCurrent('index', [record.name], heldByCaller);
      if (made.length > 0) return false;
      throw indexRootLost();
    }
    return this.#inTransaction(heldByCaller, async (runner) => {
      return (await insertKey(runner, record)) && confirm(runner);
    });
  }

  async apply(
    changes: readonly KeyChange[],
    confirm: (connection: QueryRunner) => Promise<boolean> = () => Promise.resolve(true),
  ): Promise<boolean> {
    return this.#inTransaction(undefined, async (runner) => {
      // A process that was suspended on the way must not commit an old date when it goes on.
      await dialectOf(this.#dataSource).transactions.limitIdleTime(runner, CHANGE_MS);
      for (const change of changes) {
        const isDone =
          change.type === 'insert'
            ? await insertKey(runner, change.record)
            : await updateKey(runner, change.expected, change.set);
        if (!isDone) return false;
      }
      return confirm(runner);
    });
  }

  async addUses(id: string, uses: number): Promise<void> {
    await withOwnTables(this.#dataSource, undefined, async (runner) => {
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

  async #find(
    connection: QueryRunner | undefined,
    narrow: (query: SelectQueryBuilder<DataKeyRow>) => SelectQueryBuilder<DataKeyRow>,
  ): Promise<KeyRecord[]> {
    return withOwnTables(this.#dataSource, connection, async (runner) => {
      await requireCommittedReads(runner);
      const query = runner.manager.createQueryBuilder(DataKeySchema, 'k', runner);
      const rows = await narrow(query).callListeners(false).cache(false).getMany();
      return rows.map(recordOf);
    });
  }

  /** Returns false if another process was first. */
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

/** Returns the error of a lost root: under a new one lookups would miss, and unique indexes admit duplicates. */
function indexRootLost(): KeyNotFoundError {
  return new KeyNotFoundError(
    'The root key of the blind indexes is missing, and there are tokens made with it. ' +
      'Restore its row of the key table from a backup; a new one would find none of them.',
  );
}
