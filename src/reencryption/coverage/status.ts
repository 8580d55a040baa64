import type { QueryRunner } from 'typeorm';

import { isBoundField } from '../../field/field-policy';
import { FORMATS, formatOfPrefix, keyIdOfPrefix } from '../../format/data-key-id';
import type { ColumnUse, CountedKey } from '../../keys/lifecycle/encrypted-rows';
import type { KeyInfo } from '../../keys/record/key-info';
import { isBranchName } from '../../keys/record/scope';
import type { Installation } from '../../typeorm/installation/installation';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { requireTable, selectAllRows } from '../../typeorm/tables/all-rows';
import { lengthSql, prefixSql } from '../database/prefix-sql';
import { encryptedTables } from '../encrypted-table';
import type { EncryptedTable } from '../encrypted-table';

import { scopeKeyIds } from './scope-rows';

/** Rows of one column under one version of its data key. */
export interface KeyCoverage {
  readonly keyId: string;
  /** Name and version of the key; `undefined` if the key table does not have it. */
  readonly name: string | undefined;
  readonly version: number | undefined;
  readonly state: KeyInfo['state'] | undefined;
  readonly rows: number;
}

/** The rows of one encrypted column. */
export interface ColumnStatus {
  readonly entity: string;
  readonly property: string;
  /** Table and column as the database knows them. */
  readonly table: string;
  readonly column: string;
  readonly rows: number;
  readonly nullRows: number;
  /** Rows that hold no ciphertext. */
  readonly cleartextRows: number;
  /** Rows whose ciphertext is not bound to them, although the property has `bindTo`. */
  readonly unboundRows: number;
  /** Rows for each data-key version, oldest first. */
  readonly keys: readonly KeyCoverage[];
}

/** Counts the rows of every encrypted column by data key, in SQL, from the header prefix. */
export async function columnStatuses(
  installation: Installation,
  runner: QueryRunner,
  keyInfos: readonly KeyInfo[],
): Promise<ColumnStatus[]> {
  const keys = new Map(keyInfos.map((key) => [key.id, key]));
  const statuses: ColumnStatus[] = [];
  for (const table of encryptedTables(installation)) {
    for (const encrypted of table.columns) {
      const counts = await countByPrefix(runner, table, encrypted);
      statuses.push(columnStatus(table, encrypted, counts, keys));
    }
  }
  return statuses;
}

/**
 * Counts the rows that need one key, in every encrypted column, and those whose key is not in the key
 * table: if their id is damaged, they may be under any key that the column was encrypted with.
 */
export async function columnUses(
  installation: Installation,
  runner: QueryRunner,
  { id, name, purpose, provenIds }: CountedKey,
): Promise<ColumnUse[]> {
  const known = provenIds ?? new Set((await installation.store.list(runner)).map((key) => key.id));
  const isBranch = isBranchName(name);
  // If no column has the name any more, rows of any column may be under the key.
  const isOfAny = provenIds !== undefined || !installation.columns.keyNames.includes(name);
  const isRoot = provenIds === undefined && purpose === 'index';
  const uses: ColumnUse[] = [];
  for (const table of encryptedTables(installation)) {
    await requireTable(runner, table.metadata);
    for (const encrypted of table.columns) {
      const counts = await countByPrefix(runner, table, encrypted);
      const status = columnStatus(table, encrypted, counts, new Map());
      const { entity, property, table: tableName, column, rows, keys } = status;
      const others = keys.map(({ keyId }) => keyId).filter((keyId) => !known.has(keyId));
      const ofScopes = await scopeKeyIds(installation, runner, others);
      const mayBeOf = !isRoot && !isBranch && (isOfAny || encrypted.policy.keyName === name);
      uses.push({
        ...{ entity, property, table: tableName, column, rows },
        rowsUnderKey: rowsOf(keys, ({ keyId }) => keyId === id),
        rowsUnderUnknownKeys: mayBeOf
          ? rowsOf(keys, ({ keyId }) => keyId !== id && !known.has(keyId) && !ofScopes.has(keyId))
          : 0,
      });
    }
  }
  return uses;
}

function rowsOf(keys: readonly KeyCoverage[], counts: (key: KeyCoverage) => boolean): number {
  return keys.filter(counts).reduce((sum, { rows }) => sum + rows, 0);
}

interface PrefixCount {
  /** `null` for NULL, empty for a value that cannot be a ciphertext. */
  readonly prefix: string | null;
  readonly rows: number;
}

async function countByPrefix(
  runner: QueryRunner,
  table: EncryptedTable,
  { column, policy }: EncryptedColumn,
): Promise<PrefixCount[]> {
  const { driver } = runner.connection;
  const cell = driver.escape(column.databaseName);
  const prefix = prefixSql(runner.connection, cell, policy.storage);
  const length = lengthSql(runner.connection, cell, policy.storage);
  // Cleartext is one group: its beginnings are confidential, and there may be many.
  const shortest = policy.storage === 'text' ? 52 : 38;
  const rows = await selectAllRows<{ prefix: string | null; total: number | string }>(
    runner,
    table.metadata,
    `SELECT CASE WHEN ${cell} IS NULL THEN NULL WHEN ${length} < ${String(shortest)} THEN '' ` +
      `ELSE ${prefix} END AS prefix, COUNT(*) AS total FROM ${table.name} GROUP BY 1`,
  );
  return rows.map(({ prefix: found, total }) => ({
    prefix: found !== null && /^[0-9A-F]{18}$/.test(found) ? hexToPrefix(found) : found,
    rows: Number(total),
  }));
}

function hexToPrefix(hex: string): string {
  return Buffer.from(hex, 'hex').toString('base64url');
}

function columnStatus(
  table: EncryptedTable,
  { column, policy }: EncryptedColumn,
  counts: readonly PrefixCount[],
  keys: ReadonlyMap<string, KeyInfo>,
): ColumnStatus {
  const total = (rows: readonly PrefixCount[]): number => rows.reduce((sum, r) => sum + r.rows, 0);
  const byKey = new Map<string, number>();
  let unboundRows = 0;
  for (const { prefix, rows } of counts) {
    const keyId = prefix === null ? undefined : keyIdOfPrefix(prefix);
    if (prefix === null || keyId === undefined) continue;
    byKey.set(keyId, (byKey.get(keyId) ?? 0) + rows);
    if (isBoundField(policy) && formatOfPrefix(prefix) !== FORMATS.bound) unboundRows += rows;
  }
  const nullRows = total(counts.filter(({ prefix }) => prefix === null));
  const rows = total(counts);
  const encryptedRows = [...byKey.values()].reduce((sum, each) => sum + each, 0);
  return {
    entity: policy.entity,
    property: policy.property,
    table: table.metadata.tablePath,
    column: column.databaseName,
    rows,
    nullRows,
    cleartextRows: rows - nullRows - encryptedRows,
    unboundRows,
    keys: [...byKey]
      .map(([keyId, keyRows]) => coverageOf(keyId, keyRows, keys.get(keyId)))
      .sort((a, b) => (a.version ?? 0) - (b.version ?? 0)),
  };
}

function coverageOf(keyId: string, rows: number, key: KeyInfo | undefined): KeyCoverage {
  return { keyId, name: key?.name, version: key?.version, state: key?.state, rows };
}
