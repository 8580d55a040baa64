import type { DataSource, QueryRunner } from 'typeorm';
import type { EncryptedColumn, IndexedColumn } from './encrypted-column';
import { fetchPrevious, keyPrefixOf } from './encrypted-column';
import { escapedTable } from './escaped-table';
import type { Installation } from './installation';
import type { SqlParameters } from './sql-parameters';

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
