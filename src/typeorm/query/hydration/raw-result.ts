import type { QueryRunner } from 'typeorm';
import { DriverUtils } from 'typeorm/driver/DriverUtils.js';

import { KeyPrefixes } from '../../metadata/key-prefixes';
import type { Installation } from '../../installation/installation';
import type { EncryptedColumn } from '../../metadata/encrypted-column';
import type { Expressions } from '../any-query-builder';

export type Row = Record<string, unknown>;

/** An encrypted column by the name that it has in raw rows. */
export type SelectedColumn = readonly [key: string, column: EncryptedColumn];

/** What the database has answered to a query, before TypeORM makes entities of it. */
export interface RawResult {
  /** The one that makes entities of it. */
  readonly builder: object;
  readonly rows: readonly Row[];
  /** All that the query can select, whether it does or not. */
  readonly columns: readonly SelectedColumn[];
  readonly expressions: Expressions;
  readonly installation: Installation;
  readonly queryRunner: QueryRunner;
}

/** The encrypted columns that a query can select, by the name they have in its raw rows. */
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
      ]);
    }
  }
  return selected;
}

/** What JSON makes of a Buffer. */
interface JsonBytes {
  readonly type: 'Buffer';
  readonly data: readonly number[];
}

/** Gives binary ciphertexts back the form that they lose in the query cache, which keeps rows as JSON. */
export function restoreCachedBytes({ rows, columns, expressions }: RawResult): void {
  if (expressions.cache === false) return;
  for (const [key, { policy }] of columns) {
    if (policy.storage !== 'binary') continue;
    for (const row of rows) {
      const stored = row[key];
      if (isJsonBytes(stored)) row[key] = Buffer.from(stored.data);
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

/**
 * Collects the header prefixes of the ciphertexts in raw rows, so that all missing data keys can be
 * fetched at once before TypeORM hydrates, which is synchronous.
 */
export function ciphertextPrefixes({ rows, columns }: RawResult): Set<string> {
  const prefixes = new KeyPrefixes();
  for (const [key, encrypted] of columns) {
    for (const row of rows) prefixes.add(encrypted, row[key]);
  }
  return prefixes.found;
}
