import type { WorkTable } from '../work-table';
import type { StoredPage } from './page';
import type { PageStatement, RawRow } from './page-sql';

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
  { keys, cells }: WorkTable,
  { sql, values }: PageStatement,
  versions: readonly string[],
): PageStatement {
  const columns = [
    ...namesOf('k', keys).map((name) => [joined(name), name]),
    ...namesOf('c', cells).flatMap((name) => [
      [joined(`COALESCE(${name}, ${literal(NULL_MARK)})`), name],
      [`COUNT(${name})`, `${name}_count`],
    ]),
    ...versions.map((name) => [joined(`CAST(${name} AS text)`), name]),
    ['COUNT(*)', 'page_rows'],
  ];
  const selected = columns.map(([column, name]) => `${String(column)} AS ${String(name)}`);
  return { sql: `SELECT ${selected.join(', ')} FROM (${sql}) AS page`, values };
}

/** The page in the row of {@link joinedSql}; `undefined` where its cells have our separators in them. */
export function pageOfJoined(
  { keys, cells }: WorkTable,
  row: RawRow,
  versions: readonly string[],
): StoredPage | undefined {
  const rows = Number(row['page_rows']);
  const parts = (name: string): string[] => (rows === 0 ? [] : String(row[name]).split(SEPARATOR));
  const page = {
    rows,
    keys: namesOf('k', keys).map(parts),
    cells: namesOf('c', cells).map((name) => withNulls(parts(name))),
    versions: versions.map(parts),
  };
  const isWhole =
    [...page.keys, ...page.cells].every(({ length }) => length === rows) &&
    namesOf('c', cells).every(
      (name, i) => Number(row[`${name}_count`]) === rows - nulls(page.cells[i]),
    );
  return isWhole ? page : undefined;
}

function withNulls(parts: string[]): (string | null)[] {
  return parts.includes(NULL_MARK)
    ? parts.map((part) => (part === NULL_MARK ? null : part))
    : parts;
}

function nulls(column: readonly (string | null)[] = []): number {
  return column.reduce((count, cell) => (cell === null ? count + 1 : count), 0);
}

function joined(expression: string): string {
  return `string_agg(${expression}, ${literal(SEPARATOR)})`;
}

function literal(character: string): string {
  return `chr(${String(character.charCodeAt(0))})`;
}

function namesOf(letter: string, columns: readonly unknown[]): string[] {
  return columns.map((_, i) => `${letter}${String(i)}`);
}
