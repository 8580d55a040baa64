import type { DataSource } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { dialectOf } from '../../typeorm/dialect/dialect-of';

/** Where the groups of a UUID begin among its digits, and how many these are. */
const UUID_GROUPS = [
  [1, 8],
  [9, 4],
  [13, 4],
  [17, 4],
  [21, 12],
] as const;

/** Returns SQL for the id of the scope that a column names, in the form of `scopeId`. */
export function scopeIdSql(dataSource: DataSource, column: ColumnMetadata): string {
  const { driver } = dataSource;
  const { sql } = dialectOf(dataSource);
  const cell = driver.escape(column.databaseName);
  const type = driver.normalizeType(column).toLowerCase();
  const text = type === 'bytea' || type === 'blob' ? sql.hex(cell) : sql.cast(cell, 'text');
  const digits = `lower(replace(replace(replace(${text}, '-', ''), '{', ''), '}', ''))`;
  const groups = UUID_GROUPS.map(
    ([from, length]) => `substr(${digits}, ${String(from)}, ${String(length)})`,
  );
  const uuid = sql.concat(groups.flatMap((group, i) => (i === 0 ? [group] : ["'-'", group])));
  return `CASE WHEN length(${digits}) = 32 AND ${sql.isHex(digits)} THEN ${uuid} ELSE ${text} END`;
}
