import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { FieldEncryptionError } from '../../errors';
import { readLegacyPlaintext } from '../../typeorm/codec/cleartext';
import { dialectOf } from '../../typeorm/dialect/dialect-of';
import type { Installation } from '../../typeorm/installation/installation';
import type { EncryptedColumn, IndexedColumn } from '../../typeorm/metadata/encrypted-column';
import { boundCondition } from '../database/bound-condition';
import { runDatabaseOf } from '../database/database-of';
import { keyAt } from '../database/row';
import type { RowKey, StoredPage } from '../database/row';
import type { RunDatabase } from '../database/run-database';
import type { WorkCell, WorkTable } from '../database/work-table';
import type { EncryptedTable } from '../encrypted-table';
import { MAX_FAILURES_LISTED } from '../report/run-report';
import type { RowFailure, RowFailureCode } from '../report/run-report';
import { storedPages } from '../walk/read-pages';

import { findDuplicates } from './duplicates';
import type { Claim, Duplicate } from './duplicates';

/** A column that is about to hold cleartext beside ciphertext. */
export interface TransitionColumn {
  readonly encrypted: EncryptedColumn;
  /** SQL for its value as it will be stored then. */
  readonly stored: string;
}

/** The rows that an encryption would leave as they are. */
export interface ForeseenFailures {
  readonly count: number;
  /** The first of them. */
  readonly listed: readonly RowFailure[];
}

/** A unique index that the columns will have, and the positions of its other columns in a row. */
interface FutureIndex {
  readonly encrypted: EncryptedColumn;
  readonly indexed: IndexedColumn;
  readonly among: readonly number[];
}

/**
 * Checks the cleartext rows of a table whose columns are not migrated yet: their types and lengths, and in
 * place of tokens, which need keys, the contents that tokens are made from. Needs no key and writes nothing.
 */
export class CleartextRows {
  readonly #database: RunDatabase;
  readonly #suite: Installation['options']['suite'];
  readonly #columns: readonly TransitionColumn[];
  readonly #table: WorkTable;
  readonly #unique: readonly FutureIndex[];
  readonly #failures: RowFailure[] = [];
  #failed = 0;
  #rows = 0;
  #isChecked = false;

  private constructor(
    { dataSource, options }: Installation,
    { metadata, name }: EncryptedTable,
    columns: readonly TransitionColumn[],
    types: ReadonlyMap<string, string>,
  ) {
    this.#database = runDatabaseOf(dataSource);
    this.#suite = options.suite;
    this.#columns = columns;
    const cell = (column: ColumnMetadata, sql: string): WorkCell => ({
      ...{ column, name: sql, written: false },
      type: types.get(column.databaseName) ?? 'text',
    });
    const sqlOf = ({ databaseName }: ColumnMetadata): string =>
      dataSource.driver.escape(databaseName);
    const cells = columns.map(({ encrypted, stored }) => cell(encrypted.column, stored));
    const add = (column: ColumnMetadata): number =>
      cells.push(cell(column, dialectOf(dataSource).sql.cast(sqlOf(column), 'text'))) - 1;
    this.#unique = columns.flatMap(({ encrypted }) =>
      encrypted.indexes
        .filter(({ policy }) => policy.unique)
        .filter(({ uniqueWith }) => uniqueWith.every((column) => types.has(column.databaseName)))
        .map((indexed) => ({ encrypted, indexed, among: indexed.uniqueWith.map(add) })),
    );
    const keys = metadata.primaryColumns.map((column) => cell(column, sqlOf(column)));
    const where = boundCondition(dataSource, '', {});
    this.#table = { metadata, name, keys, cells, columns: [], where, first: '' };
  }

  /** Finds the rows of the table that could not be encrypted. */
  static async check(
    installation: Installation,
    table: EncryptedTable,
    columns: readonly TransitionColumn[],
  ): Promise<ForeseenFailures> {
    const types = await runDatabaseOf(installation.dataSource).columnTypes(table.name);
    const readable = columns.filter(({ encrypted }) => encrypted.previousFormat === undefined);
    return new CleartextRows(installation, table, readable, types).#check();
  }

  async #check(): Promise<ForeseenFailures> {
    const [rows] = await this.#database.count(this.#table, 'TRUE');
    const read = this.#claims.bind(this);
    const { count, listed } = await findDuplicates(rows * this.#unique.length, read);
    const duplicates = listed.map((duplicate) => this.#duplicate(duplicate));
    return {
      count: this.#failed + count,
      listed: [...this.#failures, ...duplicates].slice(0, MAX_FAILURES_LISTED),
    };
  }

  async *#claims(): AsyncGenerator<readonly Claim[]> {
    const context = { database: this.#database, options: {} };
    for await (const page of storedPages(context, this.#table, '')) yield this.#claimsOf(page);
    this.#isChecked = true;
  }

  #claimsOf(page: StoredPage): Claim[] {
    const claims: Claim[] = [];
    for (let row = 0; row < page.rows; row++) claims.push(...this.#claimsOfRow(page, row));
    return claims;
  }

  /** Returns none for a row that fails: it is left as it is, with all of its columns. */
  #claimsOfRow(page: StoredPage, row: number): Claim[] {
    const claims: Claim[] = [];
    for (const [at, { encrypted }] of this.#columns.entries()) {
      const stored = page.cells[at]?.[row];
      if (stored === null || encrypted.cipher.inspect(stored).kind !== 'plaintext') continue;
      try {
        claims.push(...this.#claimsOfValue(encrypted, stored, page, row));
      } catch (error) {
        if (!(error instanceof FieldEncryptionError)) throw error;
        this.#fail(encrypted, keyAt(page, row), error.code);
        return [];
      }
    }
    return claims;
  }

  #claimsOfValue(
    encrypted: EncryptedColumn,
    stored: unknown,
    page: StoredPage,
    row: number,
  ): Claim[] {
    const value = readLegacyPlaintext(encrypted, stored);
    encrypted.cipher.check(value, this.#suite);
    for (const { index } of encrypted.indexes) index.comparable(value);
    return [...this.#unique.entries()]
      .filter(([, unique]) => unique.encrypted === encrypted)
      .flatMap(([index, { indexed, among }]) => {
        const content = Buffer.from(indexed.index.comparable(value)).toString('base64');
        const others = among.map((at) => page.cells[at]?.[row]);
        // The database takes NULL for different from everything.
        if (others.includes(null)) return [];
        const contents = JSON.stringify([content, ...others]);
        return [{ index, content: contents, key: keyAt(page, row), held: false }];
      });
  }

  /** Notes a failure of the first reading. */
  #fail(encrypted: EncryptedColumn, key: RowKey, code: RowFailureCode): void {
    if (this.#isChecked) return;
    this.#failed += 1;
    if (this.#failures.length < MAX_FAILURES_LISTED) {
      this.#failures.push({ ...this.#failureAt(encrypted, key), code });
    }
  }

  #duplicate({ index, key, holder }: Duplicate): RowFailure {
    const { encrypted } = this.#unique[index] as FutureIndex;
    const conflictsWith = this.#database.reportedKey(this.#table, holder);
    return { ...this.#failureAt(encrypted, key), code: 'DUPLICATE_TOKEN', conflictsWith };
  }

  #failureAt({ policy }: EncryptedColumn, key: RowKey): Omit<RowFailure, 'code'> {
    const { entity, property } = policy;
    return { entity, property, primaryKey: this.#database.reportedKey(this.#table, key) };
  }
}
