import type { TableIndex } from 'typeorm';

import { quotedName } from '../../typeorm/dialect/mysql/names';
import { mysqlValues } from '../../typeorm/dialect/mysql/values';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { columnRefused } from '../expanded-table';
import type { ExpandedTable } from '../expanded-table';

import type { ColumnChange } from './column-change';
import type { LiveColumn } from './live-column';

/** The bytes that a row may have, without what is stored elsewhere. */
const ROW_BYTES = 65_535;

/** The bytes that an entry of an index may have. */
const INDEX_BYTES = 3072;

/** Types whose values are stored outside of their row, and have no length for an index. */
const LONG = /(?:text|blob|json)$/;

/**
 * Refuses a column that is too narrow for its cleartext.
 *
 * @throws {@link ConfigurationError}
 */
export async function assertWideEnough(
  { runner, table }: ExpandedTable,
  encrypted: EncryptedColumn,
  stored: string,
): Promise<void> {
  const { columnLength, storage } = encrypted.policy;
  if (columnLength === undefined || mysqlValues.columnType(storage, columnLength) !== 'varchar')
    return;
  const [row] = (await runner.query(
    `SELECT MAX(CHAR_LENGTH(${stored})) AS longest FROM ${table.name}`,
  )) as { longest: number | string | null }[];
  const longest = Number(row?.longest ?? 0);
  if (longest <= columnLength) return;
  throw columnRefused(
    encrypted,
    `${table.name} has rows of ${String(longest)} characters, and the column would hold ${String(columnLength)}. ` +
      'Leave out "length" of @Encrypted, or make it greater.',
  );
}

/**
 * Refuses columns that have no room in a row together.
 *
 * @throws {@link ConfigurationError}
 */
export function assertRowFits(
  { table }: ExpandedTable,
  live: ReadonlyMap<string, LiveColumn>,
  changes: readonly ColumnChange[],
): void {
  const wide = changes.find(({ bytesInRow }) => bytesInRow !== undefined);
  if (wide === undefined) return;
  const changed = new Set(changes.map(({ encrypted }) => encrypted.column.databaseName));
  const kept = [...live].filter(([name, { base }]) => !changed.has(name) && !LONG.test(base));
  const total =
    kept.reduce((sum, [, { octets }]) => sum + Number(octets ?? 0), 0) +
    changes.reduce((sum, { bytesInRow = 0 }) => sum + bytesInRow, 0);
  if (total <= ROW_BYTES) return;
  throw columnRefused(
    wide.encrypted,
    `a row of ${table.name} would take ${String(total)} bytes, and the database allows ${String(ROW_BYTES)}. ` +
      'Leave out "length" of @Encrypted, by which the value is stored outside of the row.',
  );
}

/**
 * Refuses an index that the database would not make.
 *
 * @throws {@link ConfigurationError}
 */
export function assertIndexFits(
  { table }: ExpandedTable,
  live: ReadonlyMap<string, LiveColumn>,
  { name, columnNames }: TableIndex,
): void {
  const encrypted = table.columns.find(({ indexes }) =>
    indexes.some(({ databaseIndex }) => databaseIndex.name === name),
  );
  if (encrypted === undefined) return;
  const columns = columnNames.map((column) => ({ column, stored: live.get(column) }));
  const long = columns.find(({ stored }) => LONG.test(stored?.base ?? ''))?.column;
  const total = columns.reduce((sum, { stored }) => sum + Number(stored?.octets ?? 0), 0);
  if (long === undefined && total <= INDEX_BYTES) return;
  throw columnRefused(
    encrypted,
    (long === undefined
      ? `an entry of the index "${String(name)}" would take ${String(total)} bytes, and the database allows ${String(INDEX_BYTES)}. `
      : `the column ${quotedName(long)} has no length, which the index "${String(name)}" needs. `) +
      `Make the columns of "uniqueWith" in ${table.name} shorter first, or name others.`,
  );
}
