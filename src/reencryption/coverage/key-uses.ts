import type { QueryRunner } from 'typeorm';

import { ErasedError, FieldEncryptionError } from '../../errors';
import { isUnneeded } from '../../keys/lifecycle/encrypted-rows';
import type { ColumnUse, CountedKey, EncryptedRows } from '../../keys/lifecycle/encrypted-rows';
import { SqlParameters } from '../../typeorm/connection/sql-parameters';
import { catalogOf } from '../../typeorm/dialect/dialect-of';
import type { Installation } from '../../typeorm/installation/installation';
import { decryptStored } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn, IndexedColumn } from '../../typeorm/metadata/encrypted-column';
import { withTokensOf } from '../../typeorm/query/lookup/index-keys';
import { TokenRows } from '../../typeorm/query/unique/token-rows';
import type { TokenRow } from '../../typeorm/query/unique/token-rows';
import { onAllRows } from '../../typeorm/tables/all-rows';
import { encryptedTables } from '../encrypted-table';

import { writersToEnd } from './open-writers';
import { sealedScopeKeys } from './scope-rows';
import { columnUses } from './status';

/** Rows in one read. */
const PAGE_ROWS = 1000;

/**
 * Counts the tokens that may be of one root, in every blind index. A token does not name its root, so
 * each row is decrypted and its tokens under all other roots are computed. A row that does not decrypt,
 * or has none of these tokens, counts as needing the root.
 */
async function indexUses(
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
        if (!(await catalogOf(runner).hasColumn(runner, tablePath, indexed.column.databaseName)))
          continue;
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

/** The index to read. */
interface ScannedIndex {
  readonly encrypted: EncryptedColumn;
  readonly indexed: IndexedColumn;
}

/** A scan of all tokens of an index. */
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
      await this.#rows.prepareScopes(page, { creates: false });
      needing += page.filter((row, i) => this.#mayBeOf(rootId, readable[i], row)).length;
      page = await this.#page(page.at(-1)?.primaryKey);
    }
    return { rows, needing };
  }

  #mayBeOf(rootId: string, readable: unknown, row: TokenRow): boolean {
    const { encrypted, indexed } = this.#scanned;
    try {
      const value = decryptStored(encrypted, readable);
      return withTokensOf(this.#rows.known(row), () =>
        indexed.index.mayBeOf(rootId, value, row.token),
      );
    } catch (error) {
      // Its tokens under a common root are gone, and nobody can look up others.
      if (error instanceof ErasedError) return false;
      if (!(error instanceof FieldEncryptionError) || error.retryable) throw error;
      return true;
    }
  }

  #page(after: readonly unknown[] | undefined): Promise<TokenRow[]> {
    const keys = this.#rows.keys.join(', ');
    const parameters = new SqlParameters(this.#installation.dataSource);
    const following = after === undefined ? '' : ` AND (${keys}) > (${parameters.list(after)})`;
    return onAllRows(this.#runner, this.#scanned.encrypted.column.entityMetadata, () =>
      this.#rows.select(
        `WHERE ${this.#rows.token} IS NOT NULL${following} ORDER BY ${keys} LIMIT ${String(PAGE_ROWS)}`,
        parameters,
      ),
    );
  }
}

/**
 * Counts what still needs a key: rows of encrypted columns, or tokens of blind indexes for a root. Counts
 * both if the key's own row does not prove which it is.
 */
export async function keyUses(
  installation: Installation,
  runner: QueryRunner,
  key: CountedKey,
): Promise<ColumnUse[]> {
  // No row needs a key that signs: what it signed is verified with the public key.
  if (key.purpose === 'signing' && key.provenIds === undefined) return [];
  const ofColumns = [
    ...(await columnUses(installation, runner, key)),
    ...(await sealedScopeKeys(installation, runner, key.id)),
  ];
  if (key.purpose === 'data' && key.provenIds === undefined) return ofColumns;
  // Columns with rows under the key show that it is not a root, whatever its row says.
  const needing = ofColumns.filter((use) => !isUnneeded([use]));
  return [...needing, ...(await indexUses(installation, runner, key.id))];
}

/** Milliseconds to wait for open transactions by default. */
const PATIENCE_MS = 30_000;

/** Returns how to count the rows and tokens that need a key of this installation. */
export function encryptedRows(
  installation: Installation,
  waitMs = PATIENCE_MS,
): EncryptedRows<QueryRunner> {
  return {
    count: (key, runner) => keyUses(installation, runner, key),
    refreshRoots: async () => {
      if (installation.columns.needsIndexRoot) await installation.keys.confirm([], { index: true });
    },
    writersToEnd: (key) => writersToEnd(installation, waitMs, key),
  };
}
