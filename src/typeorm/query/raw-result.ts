import type { QueryRunner } from 'typeorm';
import { DriverUtils } from 'typeorm/driver/DriverUtils.js';
import type { EncryptedColumn } from '../encrypted-column';
import type { Installation } from '../installation';
import type { Expressions } from './any-query-builder';

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
