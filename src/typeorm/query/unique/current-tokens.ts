import type { QueryRunner } from 'typeorm';

import { pagesOf } from '../../../keys/store/pages-of';
import { fenced, rememberKeys } from '../../connection/key-fence';
import { SqlParameters } from '../../connection/sql-parameters';
import { dialectOf } from '../../dialect/dialect-of';
import type { Installation } from '../../installation/installation';
import { decryptStored } from '../../metadata/encrypted-column';
import type { UniqueIndex } from '../../metadata/encrypted-column';
import { withKnownRow } from '../../metadata/known-row';
import { cleartextForms } from '../lookup/cleartext-forms';

import { tokenOf, tokensOf } from './row-values';
import type { ValueOfRow } from './row-values';
import { TokenRows } from './token-rows';
import type { TokenRow, UpdateTargets } from './token-rows';

/** Values in one statement, each of which has several parameters. */
const VALUES_PER_QUERY = 200;
/** Rows that an UPDATE changes, in one query. */
const PAGE_ROWS = 1000;

/** The beginning of a condition that restricts rows, with its parameters; empty for all rows. */
export type Restriction = (rows: TokenRows) => {
  readonly sql: string;
  readonly parameters: SqlParameters;
};

/**
 * Writes the current token of rows that hold one of some values under an earlier one, and encrypts those
 * that hold one in clear. Each only if it is still as it was read: a writer that changed it meanwhile has
 * written a current token.
 *
 * Raw SQL, so that no hook runs and no version or update-date column changes.
 */
export async function updateTokens(
  installation: Installation,
  runner: QueryRunner,
  index: UniqueIndex,
  values: readonly ValueOfRow[],
  restriction: Restriction,
): Promise<void> {
  const rows = new EarlierRows(installation, runner, index);
  for (const page of pagesOf(values, VALUES_PER_QUERY)) {
    await rows.update(await rows.holding(page, restriction));
  }
}

/** Does the same for the rows that an UPDATE is about to change; yields their values page by page. */
export async function* updateTargetTokens(
  installation: Installation,
  runner: QueryRunner,
  index: UniqueIndex,
  targets: UpdateTargets,
): AsyncGenerator<readonly ValueOfRow[]> {
  const rows = new EarlierRows(installation, runner, index);
  let page = await rows.targets(targets, undefined);
  while (page.length > 0) {
    yield rows.update(page);
    page = await rows.targets(targets, page.at(-1)?.primaryKey);
  }
}

/** Rows of a unique index that are not under their current token. */
class EarlierRows {
  readonly #installation: Installation;
  readonly #runner: QueryRunner;
  readonly #index: UniqueIndex;
  readonly #rows: TokenRows;

  constructor(installation: Installation, runner: QueryRunner, index: UniqueIndex) {
    this.#installation = installation;
    this.#runner = runner;
    this.#index = index;
    this.#rows = new TokenRows(installation, runner, index.encrypted, index.indexed);
  }

  /** Fetches the rows that hold one of the values under another token, or in clear. */
  async holding(values: readonly ValueOfRow[], restriction: Restriction): Promise<TokenRow[]> {
    const { encrypted, indexed } = this.#index;
    const earlier = values.flatMap((value) => tokensOf(this.#index, value).slice(1));
    const inClear = encrypted.readsPlaintext
      ? values.flatMap(({ value }) => cleartextForms(encrypted, indexed.index, value))
      : [];
    if (earlier.length + inClear.length === 0) return [];

    const { token, cell } = this.#rows;
    const { sql, parameters } = restriction(this.#rows);
    const conditions: string[] = [];
    if (earlier.length > 0) conditions.push(`${token} IN (${parameters.list(earlier)})`);
    if (inClear.length > 0) {
      conditions.push(`(${token} IS NULL AND ${cell} IN (${parameters.list(inClear)}))`);
    }
    const any = `(${conditions.join(' OR ')})`;
    return this.#select(sql === '' ? any : `${sql} AND ${any}`, parameters);
  }

  /** Fetches the next rows that an UPDATE is about to change, by primary key. */
  targets(targets: UpdateTargets, after: readonly unknown[] | undefined): Promise<TokenRow[]> {
    const { cell, table } = this.#rows;
    const keys = this.#rows.keys.join(', ');
    const { sql, parameters } = targets.select(table, this.#rows.keys);
    const following = after === undefined ? '' : ` AND (${keys}) > (${parameters.list(after)})`;
    return this.#select(
      `(${keys}) IN (${sql}) AND ${cell} IS NOT NULL${following} ORDER BY ${keys} LIMIT ${String(PAGE_ROWS)}`,
      parameters,
    );
  }

  /** Fetches rows as they are now, also in a transaction with an older snapshot. */
  #select(condition: string, parameters: SqlParameters): Promise<TokenRow[]> {
    const { currentRows } = dialectOf(this.#installation.dataSource).sql;
    return this.#rows.select(`WHERE ${condition}${currentRows}`, parameters);
  }

  /** Writes the current tokens of rows, and returns their values. */
  async update(rows: readonly TokenRow[]): Promise<ValueOfRow[]> {
    const { encrypted } = this.#index;
    const readable = await this.#rows.readable(rows);
    await this.#rows.prepareScopes(rows);
    const values: ValueOfRow[] = [];
    for (const [i, row] of rows.entries()) {
      const value = { value: decryptStored(encrypted, readable[i]), row: this.#rows.known(row) };
      if (row.token !== tokenOf(this.#index, value)) await this.#updateRow(row, value);
      values.push(value);
    }
    return values;
  }

  async #updateRow(row: TokenRow, value: ValueOfRow): Promise<void> {
    const parameters = new SqlParameters(this.#installation.dataSource);
    const [set, used] = this.#installation.keys.noting(() =>
      row.token === null
        ? withKnownRow(value.row, () => this.#assignments(row, value.value, parameters))
        : [`${this.#rows.token} = ${parameters.add(tokenOf(this.#index, value))}`],
    );
    rememberKeys(parameters.values, used);
    const unchanged = [
      ...this.#rows.keys.map((key, i) => `${key} = ${parameters.add(row.primaryKey[i])}`),
      `${this.#rows.cell} = ${parameters.add(row.stored)}`,
      row.token === null
        ? `${this.#rows.token} IS NULL`
        : `${this.#rows.token} = ${parameters.add(row.token)}`,
    ];
    const all = [...set, ...this.#kept()].join(', ');
    const sql = `UPDATE ${this.#rows.table} SET ${all} WHERE ${unchanged.join(' AND ')}`;
    const { dataSource } = this.#installation;
    await this.#runner.query(...fenced(dataSource, [sql, parameters.values], used));
  }

  /** Returns assignments that keep what an UPDATE would renew by itself. */
  #kept(): string[] {
    const { dataSource } = this.#installation;
    if (!dialectOf(dataSource).sql.renewsColumns) return [];
    const { columns } = this.#index.encrypted.column.entityMetadata;
    return columns
      .filter(({ onUpdate }) => onUpdate !== undefined)
      .map(({ databaseName }) => dataSource.driver.escape(databaseName))
      .map((name) => `${name} = ${name}`);
  }

  /** Returns assignments of the value's ciphertext and of its tokens in all indexes. */
  #assignments({ bound }: TokenRow, value: unknown, parameters: SqlParameters): string[] {
    const { binding, cipher, indexes } = this.#index.encrypted;
    const stored = cipher.encrypt(
      value,
      binding?.contextOf((i) => bound[i]),
    );
    const { driver } = this.#installation.dataSource;
    return [
      `${this.#rows.cell} = ${parameters.add(stored)}`,
      ...indexes.map(
        ({ column, index }) =>
          `${driver.escape(column.databaseName)} = ${parameters.add(index.token(value))}`,
      ),
    ];
  }
}
