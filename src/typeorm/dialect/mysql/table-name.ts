/** Returns the condition for a table in `information_schema`, whose views name the columns alike. */
export function inSchema(tablePath: string): {
  readonly sql: string;
  readonly values: string[];
} {
  const [table = '', database] = tablePath.split('.').reverse();
  return database === undefined
    ? { sql: 'table_schema = DATABASE() AND table_name = ?', values: [table] }
    : { sql: 'table_schema = ? AND table_name = ?', values: [database, table] };
}
