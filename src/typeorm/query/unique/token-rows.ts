import type { DataSource, ObjectLiteral, QueryRunner } from 'typeorm';

import type { Installation } from '../../installation/installation';
import { fetchPrevious, keyPrefixOf } from '../../metadata/encrypted-column';
import type { EncryptedColumn, IndexedColumn } from '../../metadata/encrypted-column';
import { escapedTable, SqlParameters } from '../../connection/sql-dialect';
import type { AnyQueryBuilder } from '../any-query-builder';

/** What TypeORM's UpdateQueryBuilder makes its statement with. */
type UpdateBuilder = AnyQueryBuilder & {
  createCteExpression(): string;
  createWhereExpression(): string;
  replacePropertyNamesForTheWholeQuery(statement: string): string;
  getParameters(): ObjectLiteral;
};

/** TypeORM 0.3 takes parameters in the driver's notation, too. */
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

  /** @param builder - one that makes an UPDATE, with every parameter known. */
  constructor(builder: AnyQueryBuilder) {
    this.#builder = builder as UpdateBuilder;
  }

  /**
   * A sub-query for some columns of them, with which the condition of another statement has to begin.
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
}

/** The rows of one blind index, read by raw SQL: no soft-deleted row and no class of an inheritance is left out. */
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

  constructor(
    installation: Installation,
    runner: QueryRunner,
    encrypted: EncryptedColumn,
    { column }: IndexedColumn,
  ) {
    const { dataSource } = installation;
    const escape = (name: string): string => dataSource.driver.escape(name);
    this.dataSource = dataSource;
    this.#installation = installation;
    this.#runner = runner;
    this.#encrypted = encrypted;
    this.table = escapedTable(dataSource, column.entityMetadata);
    this.keys = column.entityMetadata.primaryColumns.map(({ databaseName }) =>
      escape(databaseName),
    );
    this.cell = escape(encrypted.column.databaseName);
    this.token = escape(column.databaseName);
  }

  /** @param rest - SQL from WHERE on, with these parameters. */
  async select(rest: string, { values }: SqlParameters): Promise<TokenRow[]> {
    const { driver } = this.#installation.dataSource;
    const selected = [...this.keys, this.cell, this.token].map(
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
      };
    });
  }

  /** What can be decrypted in the place of the stored values, with all in memory that it needs. */
  async readable(rows: readonly TokenRow[]): Promise<readonly unknown[]> {
    const stored = rows.map((row) => row.stored);
    const prefixes = stored.flatMap((value) => keyPrefixOf(this.#encrypted, value) ?? []);
    await this.#installation.loadKeys(new Set(prefixes), this.#runner);
    return fetchPrevious(this.#encrypted, stored);
  }
}
