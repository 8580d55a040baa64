import type { QueryRunner } from 'typeorm';

import { isDataKeyId } from '../../format/data-key-id';
import type { KeyInfo } from '../../keys/record/key-info';
import { catalogOf } from '../../typeorm/dialect/dialect-of';
import type { Installation } from '../../typeorm/installation/installation';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { selectAllRows } from '../../typeorm/tables/all-rows';
import { underKeysSql } from '../database/prefix-sql';
import { encryptedTables } from '../encrypted-table';
import type { EncryptedTable } from '../encrypted-table';

/** The tokens of one blind index. */
export interface IndexStatus {
  readonly entity: string;
  readonly property: string;
  /** Table and index column as the database knows them. */
  readonly table: string;
  readonly column: string;
  /** Whether the table has the column: if it does not, lookups fail, and so do writes of the property. */
  readonly exists: boolean;
  /** Encrypted rows without a token, which lookups miss: those older than the index. */
  readonly rowsWithoutToken: number;
}

/**
 * Counts the rows of every blind index that have a ciphertext and no token. In SQL and by the index of the
 * database, which finds such rows without reading the others.
 */
export async function indexStatuses(
  installation: Installation,
  runner: QueryRunner,
  keys: readonly Pick<KeyInfo, 'id'>[],
): Promise<IndexStatus[]> {
  // No ciphertext names an id of another form.
  const known = keys.filter(({ id }) => isDataKeyId(id));
  const statuses: IndexStatus[] = [];
  for (const table of encryptedTables(installation)) {
    const { tablePath } = table.metadata;
    for (const encrypted of table.columns) {
      const { entity, property } = encrypted.policy;
      for (const { column } of encrypted.indexes) {
        const name = column.databaseName;
        const exists = await catalogOf(runner).hasColumn(runner, tablePath, name);
        const rowsWithoutToken = exists
          ? await countWithoutToken(runner, table, encrypted, name, known)
          : 0;
        statuses.push({
          ...{ entity, property, table: tablePath, column: name, exists, rowsWithoutToken },
        });
      }
    }
  }
  return statuses;
}

async function countWithoutToken(
  runner: QueryRunner,
  table: EncryptedTable,
  encrypted: EncryptedColumn,
  tokenColumn: string,
  keys: readonly Pick<KeyInfo, 'id'>[],
): Promise<number> {
  if (keys.length === 0) return 0;
  const sql = withoutTokenSql(runner, table, encrypted, tokenColumn, keys);
  const [row] = await selectAllRows<{ total: number | string }>(runner, table.metadata, sql);
  return Number(row?.total ?? 0);
}

/** Returns the statement that counts rows with a ciphertext under one of some keys, and no token. */
export function withoutTokenSql(
  runner: QueryRunner,
  { name }: EncryptedTable,
  encrypted: EncryptedColumn,
  tokenColumn: string,
  keys: readonly Pick<KeyInfo, 'id'>[],
): string {
  const token = runner.connection.driver.escape(tokenColumn);
  return (
    `SELECT COUNT(*) AS total FROM ${name} WHERE ${token} IS NULL ` +
    `AND ${underKeysSql(runner, encrypted, keys)}`
  );
}
