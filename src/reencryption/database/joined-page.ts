import type { WorkTable } from '../work-table';
import type { StoredPage } from './page';
import { cellName, keyName } from './page-sql';
import type { PageDialect, PageStatement, RawRow } from './page-sql';

/** Between two rows. No ciphertext has these characters, and next to no cleartext. */
const SEPARATOR = '\u001e';
/** In the place of NULL. */
const NULL_MARK = '\u001f';

/**
 * Selects what a statement of `pageSql` does as a single row, of each column all rows in one string:
 * to take a row apart costs the driver several times what it costs the server to join it. The order
 * is that of the sub-query (section 9.21 of PostgreSQL's manual).
 */
export function joinedSql(
  { version }: PageDialect,
  { keys, cells }: WorkTable,
  { sql, values }: PageStatement,
): PageStatement {
  const columns = [
    ...keys.map((_, i) => [joined(keyName(i)), keyName(i)]),
    ...cells.flatMap((_, i) => [
      [joined(`COALESCE(${cellName(i)}, ${literal(NULL_MARK)})`), cellName(i)],
      [`COUNT(${cellName(i)})`, countName(i)],
    ]),
    ...Object.keys(version).map((name) => [joined(`CAST(${name} AS text)`), name]),
    ['COUNT(*)', 'page_rows'],
  ];
  const selected = columns.map(([column, name]) => `${String(column)} AS ${String(name)}`);
  return { sql: `SELECT ${selected.join(', ')} FROM (${sql}) AS page`, values };
}

/** The page in the row of {@link joinedSql}; `undefined` where its cells have our separators in them. */
export function pageOfJoined(
  { version }: PageDialect,
  { keys, cells }: WorkTable,
  row: RawRow,
): StoredPage | undefined {
  const rows = Number(row['page_rows']);
  const parts = (name: string): string[] => (rows === 0 ? [] : String(row[name]).split(SEPARATOR));
  const page = {
    rows,
    keys: keys.map((_, i) => parts(keyName(i))),
    cells: cells.map((_, i) => withNulls(parts(cellName(i)))),
    versions: Object.keys(version).map(parts),
  };
  const isWhole =
    [...page.keys, ...page.cells].every(({ length }) => length === rows) &&
    page.cells.every((column, i) => Number(row[countName(i)]) === rows - nulls(column));
  return isWhole ? page : undefined;
}

function withNulls(parts: string[]): (string | null)[] {
  return parts.includes(NULL_MARK)
    ? parts.map((part) => (part === NULL_MARK ? null : part))
    : parts;
}

function nulls(column: readonly (string | null)[]): number {
  return column.reduce((count, cell) => (cell === null ? count + 1 : count), 0);
}

function joined(expression: string): string {
  return `string_agg(${expression}, ${literal(SEPARATOR)})`;
}

function literal(character: string): string {
  return `chr(${String(character.charCodeAt(0))})`;
}

/** Name of how many rows have the cell, which tells NULL from what stands in its place. */
function countName(at: number): string {
  return `${cellName(at)}_count`;
}
