import type { QueryRunner } from 'typeorm';

import type { ScopeKeyState } from '../../keys/record/scope-key-record';
import { dialectOf } from '../../typeorm/dialect/dialect-of';
import { escapedTable } from '../../typeorm/dialect/escaped-table';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { selectAllRows } from '../../typeorm/tables/all-rows';
import { hasMarkSql } from '../../typeorm/tables/rotatable-scopes';
import { SCOPE_KEY_STATE_SQL, ScopeKeySchema } from '../../typeorm/tables/scope-key-table';
import type { EncryptedTable } from '../encrypted-table';

/** Rows of a column whose values begin alike. */
export interface PrefixCount {
  /** `null` for NULL, empty for a value that cannot be a ciphertext. */
  readonly prefix: string | null;
  readonly rows: number;
}

/** Rows of a column under all keys of scopes that are in one state; earlier keys of scopes to be erased apart. */
export interface ScopeStateCount {
  readonly state: ScopeKeyState | 'toBeErased';
  readonly rows: number;
}

interface CountedRow {
  readonly prefix: string | null;
  readonly state?: ScopeStateCount['state'] | null;
  readonly total: number | string;
}

/** Counts the rows of a column by the beginning of their values. */
export async function countByPrefix(
  runner: QueryRunner,
  table: EncryptedTable,
  encrypted: EncryptedColumn,
): Promise<PrefixCount[]> {
  const rows = await selectAllRows<CountedRow>(
    runner,
    table.metadata,
    countsSql(runner, table, encrypted),
  );
  return rows.map(prefixCount);
}

/** Returns the statement that counts the rows of a column: by key, or by the state of keys of scopes. */
export function coverageSql(
  runner: QueryRunner,
  table: EncryptedTable,
  encrypted: EncryptedColumn,
): string {
  const count = encrypted.scope === undefined ? countsSql : scopeStatesSql;
  return count(runner, table, encrypted);
}

/** Counts the rows of a table that meet a condition. */
export async function countWhere(
  runner: QueryRunner,
  table: EncryptedTable,
  where: string,
): Promise<number> {
  const [row] = await selectAllRows<{ total: number | string }>(
    runner,
    table.metadata,
    `SELECT COUNT(*) AS total FROM ${table.name} WHERE ${where}`,
  );
  return Number(row?.total ?? 0);
}

/**
 * Counts the rows of a column: those under keys of scopes by the state of these alone, as there may be very
 * many, and the others by the beginning of their values.
 */
export async function countByScopeState(
  runner: QueryRunner,
  table: EncryptedTable,
  encrypted: EncryptedColumn,
): Promise<{ readonly counts: PrefixCount[]; readonly scoped: ScopeStateCount[] }> {
  const rows = await selectAllRows<CountedRow>(
    runner,
    table.metadata,
    scopeStatesSql(runner, table, encrypted),
  );
  return {
    counts: rows.filter(({ state }) => (state ?? null) === null).map(prefixCount),
    scoped: rows.flatMap(({ state, total }) =>
      (state ?? null) === null
        ? []
        : [{ state: state as ScopeStateCount['state'], rows: Number(total) }],
    ),
  };
}

function scopeStatesSql(
  runner: QueryRunner,
  table: EncryptedTable,
  encrypted: EncryptedColumn,
): string {
  const { connection } = runner;
  const keys = escapedTable(connection, connection.getMetadata(ScopeKeySchema));
  const isHex = dialectOf(connection).sql.hasHexPrefix(encrypted.policy.storage);
  // By an index in both forms.
  const isSame = isHex
    ? `substr(c.prefix, 1, 2) = '02' AND k.id = lower(substr(c.prefix, 3))`
    : 'k.prefix = c.prefix';
  return (
    'SELECT CASE WHEN k.state IS NULL THEN c.prefix END AS prefix, ' +
    `CASE WHEN k.state = 'deactivated' AND k.sealed <> '' AND EXISTS (${hasMarkSql(connection, 'erasure')}) ` +
    `THEN 'toBeErased' ELSE ${SCOPE_KEY_STATE_SQL} END AS state, SUM(c.total) AS total ` +
    `FROM (${countsSql(runner, table, encrypted)}) c LEFT JOIN ${keys} k ON ${isSame} GROUP BY 1, 2`
  );
}

function countsSql(
  { connection }: QueryRunner,
  table: EncryptedTable,
  { column, policy }: EncryptedColumn,
): string {
  const cell = connection.driver.escape(column.databaseName);
  const { sql } = dialectOf(connection);
  const prefix = sql.prefix(cell, policy.storage);
  const length = sql.length(cell, policy.storage);
  // Cleartext is one group: its beginnings are confidential, and there may be many.
  const shortest = policy.storage === 'text' ? 52 : 38;
  return (
    `SELECT CASE WHEN ${cell} IS NULL THEN NULL WHEN ${length} < ${String(shortest)} THEN '' ` +
    `ELSE ${prefix} END AS prefix, COUNT(*) AS total FROM ${table.name} GROUP BY 1`
  );
}

function prefixCount({ prefix, total }: CountedRow): PrefixCount {
  const isHex = prefix !== null && /^[0-9A-F]{18}$/.test(prefix);
  return {
    prefix: isHex ? Buffer.from(prefix, 'hex').toString('base64url') : prefix,
    rows: Number(total),
  };
}
