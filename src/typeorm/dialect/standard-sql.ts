import type { Placeholder, SqlForms } from './sql-forms';

/** Names and texts in the quotes of the standard, and placeholders. */
const TOKENS = /"(?:[^"]|"")*"|'(?:[^']|'')*'|\$\d+|\?/g;

/** Finds the first token of a statement that is the placeholder meant. */
export function placeholderWhere(
  sql: string,
  isMeant: (token: string) => boolean,
): Placeholder | undefined {
  for (const { 0: text, index } of sql.matchAll(TOKENS)) {
    if (isMeant(text)) return { index, text };
  }
  return undefined;
}

/** What PostgreSQL and SQLite have from the SQL standard. */
export const STANDARD_SQL = {
  assigned: /^(?::orm_param_\d+|EXCLUDED\."(?:[^"]|"")*")/,
  cast: (sql, type) => `CAST(${sql} AS ${type})`,
  concat: (parts) => parts.join(' || '),
  tuples: (tuples) => `(VALUES ${tuples.join(', ')})`,
} satisfies Partial<SqlForms>;

/** True for bytes that begin with one of some, each in SQL. */
export function firstByte(cell: string, bytes: readonly string[]): string {
  const [first = ''] = bytes;
  return `substr(${cell}, 1, 1) ${bytes.length === 1 ? `= ${first}` : `IN (${bytes.join(', ')})`}`;
}
