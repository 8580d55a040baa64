import type { QueryRunner } from 'typeorm';
import { DriverUtils } from 'typeorm/driver/DriverUtils.js';

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

/** Returns the encrypted columns that a query can select, by their names in its raw rows. */
export function selectedColumns(
  expressions: Expressions,
  { dataSource, encryptedEntity }: Installation,
): SelectedColumn[] {
  const selected: SelectedColumn[] = [];
  for (const alias of expressions.aliases) {
    if (!alias.hasMetadata) continue;
    for (const encrypted of encryptedEntity(alias.metadata)?.columns ?? []) {
      const { databaseName } = encrypted.column;
      selected.push([
        DriverUtils.buildAlias(dataSource.driver, undefined, alias.name, databaseName),
        encrypted,
        alias.name,
      ]);
    }
  }
  return selected;
}

/** A Buffer as JSON. */
interface JsonBytes {
  readonly type: 'Buffer';
  readonly data: readonly number[];
}

/**
 * Restores binary ciphertexts, and the binary columns that values are bound to, in rows that come from the
 * query cache, which keeps them as JSON.
 */
export function restoreCachedBytes({ rows, expressions, installation }: RawResult): void {
  if (expressions.cache === false) return;
  for (const key of neededNames(expressions, installation)) {
    for (const row of rows) {
      const stored = row[key];
      if (isJsonBytes(stored)) row[key] = Buffer.from(stored.data);
    }
  }
}

/** Returns the names in raw rows of all columns that decryption needs. */
function neededNames(
  { aliases }: Expressions,
  { dataSource, encryptedEntity }: Installation,
): Set<string> {
  const names = new Set<string>();
  for (const alias of aliases) {
    if (!alias.hasMetadata) continue;
    for (const { column, binding } of encryptedEntity(alias.metadata)?.columns ?? []) {
      for (const { databaseName } of [column, ...(binding?.columns ?? [])]) {
        names.add(DriverUtils.buildAlias(dataSource.driver, undefined, alias.name, databaseName));
      }
    }
  }
  return names;
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
