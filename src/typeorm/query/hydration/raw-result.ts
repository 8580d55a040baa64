import type { Driver, QueryRunner } from 'typeorm';
import { DriverUtils } from 'typeorm/driver/DriverUtils.js';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import type { Installation } from '../../installation/installation';
import type { EncryptedColumn } from '../../metadata/encrypted-column';
import { KeyPrefixes } from '../../metadata/key-prefixes';
import type { Expressions } from '../any-query-builder';

export type Row = Record<string, unknown>;

/** An encrypted column with its name in raw rows, and the alias of its entity. */
export type SelectedColumn = readonly [key: string, column: EncryptedColumn, alias: string];

/** The result of a query, before TypeORM turns it into entities. */
export interface RawResult {
  readonly rows: readonly Row[];
  /** All columns that the query can select, whether it does or not. */
  readonly columns: readonly SelectedColumn[];
  readonly expressions: Expressions;
  readonly installation: Installation;
  readonly queryRunner: QueryRunner;
}

/** Returns the name in raw rows of a column that is selected under an alias of its entity. */
export function rawName(
  driver: Driver,
  alias: string,
  { databaseName }: Pick<ColumnMetadata, 'databaseName'>,
): string {
  return DriverUtils.buildAlias(driver, undefined, alias, databaseName);
}

/** Returns the encrypted columns that a query can select, by their names in its raw rows. */
export function selectedColumns(
  expressions: Expressions,
  { dataSource, encryptedEntity }: Installation,
): SelectedColumn[] {
  const selected: SelectedColumn[] = [];
  for (const alias of expressions.aliases) {
    if (!alias.hasMetadata) continue;
    for (const encrypted of encryptedEntity(alias.metadata)?.columns ?? []) {
      const { name } = alias;
      selected.push([rawName(dataSource.driver, name, encrypted.column), encrypted, name]);
    }
  }
  return selected;
}

/** Returns the columns that a value needs beside its own: those that it is bound to, and the primary key of a sealed one. */
export function columnsBeside({ binding, column, isSealed }: EncryptedColumn): ColumnMetadata[] {
  const bound = binding?.columns ?? [];
  return isSealed ? [...bound, ...column.entityMetadata.primaryColumns] : [...bound];
}

/** A Buffer as JSON. */
interface JsonBytes {
  readonly type: 'Buffer';
  readonly data: readonly number[];
}

/**
 * Restores binary ciphertexts, and the binary columns that they need, in rows that come from the query cache,
 * which keeps them as JSON.
 */
export function restoreCachedBytes({ rows, columns, expressions, installation }: RawResult): void {
  const { driver, queryResultCache } = installation.dataSource;
  if (queryResultCache === undefined || expressions.cache === false) return;
  const names = columns.flatMap(([key, encrypted, alias]) => [
    key,
    ...columnsBeside(encrypted).map((column) => rawName(driver, alias, column)),
  ]);
  for (const name of new Set(names)) {
    for (const row of rows) {
      const stored = row[name];
      if (isJsonBytes(stored)) row[name] = Buffer.from(stored.data);
    }
  }
}

function isJsonBytes(stored: unknown): stored is JsonBytes {
  return (
    typeof stored === 'object' &&
    stored !== null &&
    'type' in stored &&
    stored.type === 'Buffer' &&
    'data' in stored &&
    Array.isArray(stored.data)
  );
}

/** Collects the header prefixes of the ciphertexts in raw rows, so that all missing data keys can be fetched at once. */
export function ciphertextPrefixes({ rows, columns }: RawResult): Set<string> {
  const prefixes = new KeyPrefixes();
  for (const [key, encrypted] of columns) {
    for (const row of rows) prefixes.add(encrypted, row[key]);
  }
  return prefixes.found;
}
