import type { DataSource } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

/** Where the groups of a UUID begin among its digits, and how many these are. */
const UUID_GROUPS = [
  [1, 8],
  [9, 4],
  [13, 4],
  [17, 4],
  [21, 12],
] as const;

/** Returns SQL for the id of the scope that a column names, in the form of `scopeId`. */
export function scopeIdSql({ driver, options }: DataSource, column: ColumnMetadata): string {
  const cell = driver.escape(column.databaseName);
  const type = driver.normalizeType(column).toLowerCase();
  const isPostgres = options.type === 'postgres';
  const hex = isPostgres ? `encode(${cell}, 'hex')` : `lower(hex(${cell}))`;
  const text = type === 'bytea' || type === 'blob' ? hex : `CAST(${cell} AS text)`;
  const digits = `lower(replace(replace(replace(${text}, '-', ''), '{', ''), '}', ''))`;
  const isHex = isPostgres ? `${digits} !~ '[^0-9a-f]'` : `${digits} NOT GLOB '*[^0-9a-f]*'`;
  const uuid = UUID_GROUPS.map(
    ([from, length]) => `substr(${digits}, ${String(from)}, ${String(length)})`,
  ).join(" || '-' || ");
  return `CASE WHEN length(${digits}) = 32 AND ${isHex} THEN ${uuid} ELSE ${text} END`;
}
