import type { QueryRunner } from 'typeorm';
import { FieldEncryptionError } from '../errors';
import type { ColumnUse } from '../keys/key-retirement';
import type { EncryptedColumn, IndexedColumn } from '../typeorm/encrypted-column';
import { decryptStored, fetchPrevious, keyPrefixOf } from '../typeorm/encrypted-column';
import type { Installation } from '../typeorm/installation';
import { SqlParameters } from '../typeorm/sql-parameters';
import { encryptedTables } from './encrypted-table';
import type { EncryptedTable } from './encrypted-table';

/** Rows in one read. */
const PAGE_ROWS = 1000;

/** A row with a token. */
interface TokenRow {
  readonly primaryKey: readonly unknown[];
  readonly stored: unknown;
  readonly token: unknown;
}

/**
 * Counts the tokens that may be of one root, in every blind index. A token does not say which root it
 * is of, so each row is decrypted and its tokens under all other roots computed. What does not
 * decrypt, or has no token of these, counts as needing the root.
 */
export async function indexUses(
  installation: Installation,
  runner: QueryRunner,
  rootId: string,
): Promise<ColumnUse[]> {
  const uses: ColumnUse[] = [];
  for (const table of encryptedTables(installation)) {
    for (const encrypted of table.columns) {
      for (const indexed of encrypted.indexes) {
        const { tablePath } = table.metadata;
        // The schema may be behind the entities.
        if (!(await runner.hasColumn(tablePath, indexed.column.databaseName))) continue;
        const scan = new IndexScan(installation, runner, { table, encrypted, indexed });
        const { rows, needing } = await scan.count(rootId);
        const { entity, property } = encrypted.policy;
        const column = indexed.column.databaseName;
        uses.push({ entity, property, table: tablePath, column, rows, rowsUnderKey: needing });
      }
    }
  }
  return uses;
}

/** Which index is read. */
interface ScannedIndex {
  readonly table: EncryptedTable;
  readonly encrypted: EncryptedColumn;
  readonly indexed: IndexedColumn;
}

class IndexScan {
  readonly #installation: Installation;
  readonly #runner: QueryRunner;
  readonly #scanned: ScannedIndex;

  constructor(installation: Installation, runner: QueryRunner, scanned: ScannedIndex) {
    this.#installation = installation;
    this.#runner = runner;
    this.#scanned = scanned;
  }

  async count(rootId: string): Promise<{ rows: number; needing: number }> {
    let rows = 0;
    let needing = 0;
    let page = await this.#page(undefined);
    while (page.length > 0) {
      rows += page.length;
      const readable = await this.#readable(page);
      needing += readable.filter((row) => this.#mayBeOf(rootId, row)).length;
      page = await this.#page(page.at(-1)?.primaryKey);
    }
    return { rows, needing };
  }

  #mayBeOf(rootId: string, { stored, token }: TokenRow): boolean {
    const { encrypted, indexed } = this.#scanned;
    try {
      return indexed.index.mayBeOf(rootId, decryptStored(encrypted, stored), token);
    } catch (error) {
      if (!(error instanceof FieldEncryptionError) || error.retryable) throw error;
      return true;
    }
  }

  /** The rows with all that decrypting them needs in memory. */
  async #readable(page: readonly TokenRow[]): Promise<TokenRow[]> {
    const { encrypted } = this.#scanned;
    const prefixes = page.flatMap(({ stored }) => keyPrefixOf(encrypted, stored) ?? []);
    await this.#installation.loadKeys(new Set(prefixes), this.#runner);
    const readable = await fetchPrevious(
      encrypted,
      page.map(({ stored }) => stored),
    );
    return page.map((row, i) => ({ ...row, stored: readable[i] }));
  }

  /** Raw SQL: no soft-deleted row and no class of an inheritance may be left out. */
  async #page(after: readonly unknown[] | undefined): Promise<TokenRow[]> {
    const { dataSource } = this.#installation;
    const { table, encrypted, indexed } = this.#scanned;
    const name = (databaseName: string): string => dataSource.driver.escape(databaseName);
    const keys = table.metadata.primaryColumns.map(({ databaseName }) => name(databaseName));
    const token = name(indexed.column.databaseName);
    const selected = [...keys, name(encrypted.column.databaseName), token].map(
      (cell, i) => `${cell} AS ${name(`c${String(i)}`)}`,
    );
    const parameters = new SqlParameters(dataSource);
    const following =
      after === undefined ? '' : ` AND (${keys.join(', ')}) > (${parameters.list(after)})`;
    const rows = (await this.#runner.query(
      `SELECT ${selected.join(', ')} FROM ${table.name} WHERE ${token} IS NOT NULL${following} ` +
        `ORDER BY ${keys.join(', ')} LIMIT ${String(PAGE_ROWS)}`,
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
}
