import type { QueryRunner } from 'typeorm';
import { FieldEncryptionError } from '../errors';
import type { ColumnUse } from '../keys/key-retirement';
import { onAllRows } from '../typeorm/all-rows';
import type { EncryptedColumn, IndexedColumn } from '../typeorm/encrypted-column';
import { decryptStored } from '../typeorm/encrypted-column';
import type { Installation } from '../typeorm/installation';
import { hasColumn } from '../typeorm/live-columns';
import { SqlParameters } from '../typeorm/sql-parameters';
import { TokenRows } from '../typeorm/token-rows';
import type { TokenRow } from '../typeorm/token-rows';
import { encryptedTables } from './encrypted-table';

/** Rows in one read. */
const PAGE_ROWS = 1000;

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
        if (!(await hasColumn(runner, tablePath, indexed.column.databaseName))) continue;
        const tokens = new TokenRows(installation, runner, encrypted, indexed);
        const scan = new IndexScan(installation, runner, tokens, { encrypted, indexed });
        const { rows, needing } = await scan.count(rootId);
        const { entity, property } = encrypted.policy;
        const column = indexed.column.databaseName;
        const counted = { rows, rowsUnderKey: needing, rowsUnderUnknownKeys: 0 };
        uses.push({ entity, property, table: tablePath, column, ...counted });
      }
    }
  }
  return uses;
}

/** Which index is read. */
interface ScannedIndex {
  readonly encrypted: EncryptedColumn;
  readonly indexed: IndexedColumn;
}

class IndexScan {
  readonly #installation: Installation;
  readonly #runner: QueryRunner;
  readonly #rows: TokenRows;
  readonly #scanned: ScannedIndex;

  constructor(
    installation: Installation,
    runner: QueryRunner,
    rows: TokenRows,
    scanned: ScannedIndex,
  ) {
    this.#installation = installation;
    this.#runner = runner;
    this.#rows = rows;
    this.#scanned = scanned;
  }

  async count(rootId: string): Promise<{ rows: number; needing: number }> {
    let rows = 0;
    let needing = 0;
    let page = await this.#page(undefined);
    while (page.length > 0) {
      rows += page.length;
      const readable = await this.#rows.readable(page);
      needing += page.filter(({ token }, i) => this.#mayBeOf(rootId, readable[i], token)).length;
      page = await this.#page(page.at(-1)?.primaryKey);
    }
    return { rows, needing };
  }

  #mayBeOf(rootId: string, readable: unknown, token: unknown): boolean {
    const { encrypted, indexed } = this.#scanned;
    try {
      return indexed.index.mayBeOf(rootId, decryptStored(encrypted, readable), token);
    } catch (error) {
      if (!(error instanceof FieldEncryptionError) || error.retryable) throw error;
      return true;
    }
  }

  #page(after: readonly unknown[] | undefined): Promise<TokenRow[]> {
    const keys = this.#rows.keys.join(', ');
    const parameters = new SqlParameters(this.#installation.dataSource);
    const following = after === undefined ? '' : ` AND (${keys}) > (${parameters.list(after)})`;
    return this.#ofAll(() =>
      this.#rows.select(
        `WHERE ${this.#rows.token} IS NOT NULL${following} ORDER BY ${keys} LIMIT ${String(PAGE_ROWS)}`,
        parameters,
      ),
    );
  }

  #ofAll<T>(read: () => Promise<T>): Promise<T> {
    const { dataSource } = this.#installation;
    if (dataSource.options.type !== 'postgres') return read();
    const { column } = this.#scanned.encrypted;
    const { isTransactionActive: isInTransaction } = this.#runner;
    const send = (sql: string): Promise<unknown> => this.#runner.query(sql);
    return onAllRows(send, column.entityMetadata, { isInTransaction }, read);
  }
}
