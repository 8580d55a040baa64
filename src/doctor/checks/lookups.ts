import type { QueryRunner } from 'typeorm';

import { encryptedTables } from '../../reencryption/encrypted-table';
import type { EncryptedTable } from '../../reencryption/encrypted-table';
import type { DatabaseIndex } from '../../typeorm/dialect/database-catalog';
import { catalogOf } from '../../typeorm/dialect/dialect-of';
import { describeColumn } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn, IndexedColumn } from '../../typeorm/metadata/encrypted-column';
import { finding } from '../finding';
import type { DatabaseCheck, Finding } from '../finding';

/** Checks that each blind index has an index of the database, and that lookups use it. */
export const lookups: DatabaseCheck = async (installation, runner) => {
  const found: Finding[] = [];
  for (const table of encryptedTables(installation)) {
    if (!(await catalogOf(runner).hasTable(runner, table.metadata.tablePath))) continue;
    for (const encrypted of table.columns) {
      for (const indexed of encrypted.indexes) {
        if (
          !(await catalogOf(runner).hasColumn(
            runner,
            table.metadata.tablePath,
            indexed.column.databaseName,
          ))
        )
          continue;
        found.push(...(await lookup(runner, table, encrypted, indexed)));
      }
    }
  }
  return found;
};

async function lookup(
  runner: QueryRunner,
  table: EncryptedTable,
  encrypted: EncryptedColumn,
  indexed: IndexedColumn,
): Promise<Finding[]> {
  const name = indexed.column.databaseName;
  const indexes = await catalogOf(runner).indexes(runner, table.metadata, name);
  if (indexed.policy.unique && !indexes.some(keepsUnique(indexed))) {
    const others = indexed.uniqueWith.map(({ databaseName }) => databaseName);
    const tuple = others.length === 0 ? '' : ` together with ${others.join(', ')}`;
    return [
      finding(
        'INDEX_NOT_UNIQUE',
        `${describeColumn(encrypted)}: nothing in the database keeps the tokens in ${name} unique${tuple}.`,
        'Write the index with migration:generate and run it; it fails where there are duplicates already.',
      ),
    ];
  }
  if (indexes.length === 0) {
    return [
      finding(
        'INDEX_MISSING',
        `${describeColumn(encrypted)}: no index of the database begins with ${name}, so each lookup reads the whole table.`,
        'Write the index with migration:generate and run it.',
      ),
    ];
  }
  if (await isUsed(runner, table, name)) return [];
  return [
    finding(
      'INDEX_NOT_USED',
      `${describeColumn(encrypted)}: the database does not use the index on ${name} for a lookup.`,
      'Look at EXPLAIN: the index may be invalid (a CREATE INDEX CONCURRENTLY that failed), partial, of another type or collation, or missing in a partition.',
    ),
  ];
}

/** Whether an index has exactly the columns: with more it would admit duplicates, with fewer refuse too much. */
function keepsUnique({ column, uniqueWith }: IndexedColumn): (index: DatabaseIndex) => boolean {
  const wanted = new Set([column, ...uniqueWith].map(({ databaseName }) => databaseName));
  return ({ unique, whole, columns }) =>
    unique &&
    whole &&
    columns.length === wanted.size &&
    columns.every((name) => name !== null && wanted.has(name));
}

function isUsed(runner: QueryRunner, { name }: EncryptedTable, column: string): Promise<boolean> {
  const cell = runner.connection.driver.escape(column);
  return catalogOf(runner).usesIndex(runner, `SELECT 1 FROM ${name} WHERE ${cell} = 'x'`);
}
