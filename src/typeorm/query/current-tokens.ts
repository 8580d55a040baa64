import type { QueryRunner } from 'typeorm';
import { cleartextForms } from '../cleartext-forms';
import type { EncryptedColumn, UniqueIndex } from '../encrypted-column';
import { decryptStored, fetchPrevious, keyPrefixOf } from '../encrypted-column';
import { escapedTable } from '../escaped-table';
import type { Installation } from '../installation';
import { SqlParameters } from '../sql-parameters';

/** Values in one statement, each of which has several parameters. */
const VALUES_PER_QUERY = 200;

/** A row that holds one of the values under another token, or in clear. */
interface EarlierRow {
  readonly primaryKey: readonly unknown[];
  readonly stored: unknown;
  /** `null` in a cleartext row. */
  readonly token: unknown;
}

/**
 * Gives rows that hold one of some values under an earlier token their current one, and encrypts
 * those that hold one in clear. Each only if it still holds what was read: whoever changed it
 * meanwhile has written a current token.
 *
 * Raw SQL, so that no hook runs and no version or update-date column moves.
 */
export async function bringToCurrentToken(
  installation: Installation,
  runner: QueryRunner,
  index: UniqueIndex,
  values: readonly unknown[],
): Promise<void> {
  const rows = new EarlierRows(installation, runner, index);
  for (let at = 0; at < values.length; at += VALUES_PER_QUERY) {
    const found = await rows.holding(values.slice(at, at + VALUES_PER_QUERY));
    const readable = await rows.readable(found);
    for (const [i, row] of found.entries()) await rows.bringOver(row, readable[i]);
  }
}

class EarlierRows {
  readonly #installation: Installation;
  readonly #runner: QueryRunner;
  readonly #index: UniqueIndex;

  constructor(installation: Installation, runner: QueryRunner, index: UniqueIndex) {
    this.#installation = installation;
    this.#runner = runner;
    this.#index = index;
  }

  async holding(values: readonly unknown[]): Promise<EarlierRow[]> {
    const { encrypted, indexed } = this.#index;
    const earlier = values.flatMap((value) => indexed.index.tokens(value).slice(1));
    const inClear = encrypted.readsPlaintext
      ? values.flatMap((value) => cleartextForms(encrypted, indexed.index, value))
      : [];
    if (earlier.length + inClear.length === 0) return [];

    const [token, cell, keys] = [this.#token, this.#cell, this.#keys];
    const parameters = new SqlParameters(this.#installation.dataSource);
    const conditions: string[] = [];
    if (earlier.length > 0) conditions.push(`${token} IN (${parameters.list(earlier)})`);
    if (inClear.length > 0) {
      conditions.push(`(${token} IS NULL AND ${cell} IN (${parameters.list(inClear)}))`);
    }
    const selected = [...keys, cell, token].map(
      (name, i) => `${name} AS ${this.#escape(`c${String(i)}`)}`,
    );
    const rows = (await this.#runner.query(
      `SELECT ${selected.join(', ')} FROM ${this.#table} WHERE ${conditions.join(' OR ')}`,
      parameters.values,
    )) as Record<string, unknown>[];
    return rows.map((row) => {
      const cells = selected.map((_, i) => row[`c${String(i)}`]);
      return {
        primaryKey: cells.slice(0, keys.length),
        stored: cells[keys.length],
        token: cells[keys.length + 1],
      };
    });
  }

  /** What the rows hold, with all in memory that decrypting it needs. */
  async readable(rows: readonly EarlierRow[]): Promise<readonly unknown[]> {
    const { encrypted } = this.#index;
    const stored = rows.map((row) => row.stored);
    const prefixes = stored.flatMap((value) => keyPrefixOf(encrypted, value) ?? []);
    await this.#installation.loadKeys(prefixes, this.#runner);
    return fetchPrevious(encrypted, stored);
  }

  async bringOver(row: EarlierRow, readable: unknown): Promise<void> {
    const { encrypted, indexed } = this.#index;
    const value = decryptStored(encrypted, readable);
    const parameters = new SqlParameters(this.#installation.dataSource);
    const set =
      row.token === null
        ? this.#encryptedCells(encrypted, value, parameters)
        : [`${this.#token} = ${parameters.add(indexed.index.token(value))}`];
    const unchanged = [
      ...this.#keys.map((key, i) => `${key} = ${parameters.add(row.primaryKey[i])}`),
      `${this.#cell} = ${parameters.add(row.stored)}`,
      row.token === null
        ? `${this.#token} IS NULL`
        : `${this.#token} = ${parameters.add(row.token)}`,
    ];
    await this.#runner.query(
      `UPDATE ${this.#table} SET ${set.join(', ')} WHERE ${unchanged.join(' AND ')}`,
      parameters.values,
    );
  }

  /** Assignments of the value's ciphertext and of its tokens in all indexes. */
  #encryptedCells(
    { cipher, indexes }: EncryptedColumn,
    value: unknown,
    parameters: SqlParameters,
  ): string[] {
    return [
      `${this.#cell} = ${parameters.add(cipher.encrypt(value))}`,
      ...indexes.map(
        ({ column, index }) =>
          `${this.#escape(column.databaseName)} = ${parameters.add(index.token(value))}`,
      ),
    ];
  }

  get #table(): string {
    const { entityMetadata } = this.#index.indexed.column;
    return escapedTable(this.#installation.dataSource, entityMetadata);
  }

  get #keys(): string[] {
    const { primaryColumns } = this.#index.indexed.column.entityMetadata;
    return primaryColumns.map(({ databaseName }) => this.#escape(databaseName));
  }

  get #cell(): string {
    return this.#escape(this.#index.encrypted.column.databaseName);
  }

  get #token(): string {
    return this.#escape(this.#index.indexed.column.databaseName);
  }

  #escape(name: string): string {
    return this.#installation.dataSource.driver.escape(name);
  }
}
