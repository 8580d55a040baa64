import type { DataSource, ObjectLiteral, QueryRunner } from 'typeorm';

import { SqlParameters } from '../../connection/sql-parameters';
import { escapedTable } from '../../dialect/escaped-table';
import type { Installation } from '../../installation/installation';
import { fetchPrevious, keyPrefixOf } from '../../metadata/encrypted-column';
import type { EncryptedColumn, IndexedColumn } from '../../metadata/encrypted-column';
import type { KnownRow } from '../../metadata/known-row';
import { inRow } from '../../metadata/row-binding';
import type { AnyQueryBuilder } from '../any-query-builder';

/** The methods by which TypeORM's UpdateQueryBuilder builds its statement. */
type UpdateBuilder = AnyQueryBuilder & {
  createCteExpression(): string;
  createWhereExpression(): string;
  replacePropertyNamesForTheWholeQuery(statement: string): string;
  getParameters(): ObjectLiteral;
};

/** The part of a driver that is used. TypeORM 0.3 also takes parameters in the driver's notation. */
interface Driver {
  escapeQueryWithParameters(
    sql: string,
    parameters: ObjectLiteral,
    native: ObjectLiteral,
  ): [sql: string, values: unknown[]];
}

/** The rows that an UPDATE is about to change. */
export class UpdateTargets {
  readonly #builder: UpdateBuilder;

  /** @param builder - of an UPDATE whose parameters are all known. */
  constructor(builder: AnyQueryBuilder) {
    this.#builder = builder as UpdateBuilder;
  }

  /**
   * Returns a sub-query for some of their columns, with which the condition of another statement has to begin.
   *
   * @param table - escaped, as are the columns
   */
  select(
    table: string,
    columns: readonly string[],
  ): { readonly sql: string; readonly parameters: SqlParameters } {
    const { connection } = this.#builder;
    const statement = this.#builder.replacePropertyNamesForTheWholeQuery(
      `${this.#builder.createCteExpression()}SELECT ${columns.join(', ')} FROM ${table}${this.#builder.createWhereExpression()}`,
    );
    const driver = connection.driver as unknown as Driver;
    const parameters = this.#builder.getParameters();
    const [sql, values] = driver.escapeQueryWithParameters(statement, parameters, {});
    return { sql, parameters: new SqlParameters(connection, values) };
  }
}

/** A row of a table with a blind index, as stored. */
export interface TokenRow {
  readonly primaryKey: readonly unknown[];
  readonly stored: unknown;
  /** `null` in a cleartext row. */
  readonly token: unknown;
  /** Of the columns that the value is bound to. */
  readonly bound: readonly unknown[];
}

/** The rows of one blind index, read by raw SQL to include soft-deleted rows and all classes of an inheritance. */
export class TokenRows {
  /** Names for SQL, escaped. */
  readonly table: string;
  readonly keys: readonly string[];
  readonly cell: string;
  readonly token: string;
  readonly dataSource: DataSource;
  readonly #installation: Installation;
  readonly #runner: QueryRunner;
  readonly #encrypted: EncryptedColumn;
  readonly #isScoped: boolean;

  constructor(
    installation: Installation,
    runner: QueryRunner,
    encrypted: EncryptedColumn,
    { column, isScoped }: IndexedColumn,
  ) {
    const { dataSource } = installation;
    const escape = (name: string): string => dataSource.driver.escape(name);
    this.dataSource = dataSource;
    this.#installation = installation;
    this.#runner = runner;
    this.#encrypted = encrypted;
    this.#isScoped = isScoped;
    this.table = escapedTable(dataSource, column.entityMetadata);
    this.keys = column.entityMetadata.primaryColumns.map(({ databaseName }) =>
      escape(databaseName),
    );
    this.cell = escape(encrypted.column.databaseName);
    this.token = escape(column.databaseName);
  }

  /** Fetches rows. `rest` is SQL from WHERE on, with these parameters. */
  async select(rest: string, { values }: SqlParameters): Promise<TokenRow[]> {
    const { driver } = this.#installation.dataSource;
    const bound = (this.#encrypted.binding?.columns ?? []).map((c) =>
      driver.escape(c.databaseName),
    );
    const selected = [...this.keys, this.cell, this.token, ...bound].map(
      (name, i) => `${name} AS ${driver.escape(`c${String(i)}`)}`,
    );
    const rows = (await this.#runner.query(
      `SELECT ${selected.join(', ')} FROM ${this.table} ${rest}`,
      values,
    )) as Record<string, unknown>[];
    return rows.map((row) => {
      const cells = selected.map((_, i) => row[`c${String(i)}`]);
      return {
        primaryKey: cells.slice(0, this.keys.length),
        stored: cells[this.keys.length],
        token: cells[this.keys.length + 1],
        bound: cells.slice(this.keys.length + 2),
      };
    });
  }

  /** Prepares the stored values of rows for decryption, and returns them. */
  async readable(rows: readonly TokenRow[]): Promise<readonly unknown[]> {
    const stored = rows.map((row) => row.stored);
    const prefixes = stored.flatMap((value) => keyPrefixOf(this.#encrypted, value) ?? []);
    await this.#installation.loadKeys(new Set(prefixes), this.#runner);
    const ready = await fetchPrevious(this.#encrypted, stored);
    return rows.map(({ bound }, at) => inRow(this.#encrypted, ready[at], (i) => bound[i]));
  }

  /** Prepares the keys of the tokens of rows, where these have keys of scopes; creates those that are missing. */
  async prepareScopes(rows: readonly TokenRow[], how = { creates: true }): Promise<void> {
    const { scope } = this.#encrypted;
    if (!this.#isScoped || scope === undefined) return;
    const scopes = rows.map((row) => scope.of(this.known(row)));
    await this.#installation.prepareScopes(scopes, { index: true, ...how }, this.#runner);
  }

  /** Returns what is known of a row for its tokens. */
  known({ bound }: TokenRow): KnownRow {
    const { columns = [] } = this.#encrypted.binding ?? {};
    return { value: (column) => bound[columns.lastIndexOf(column)] };
  }
}
