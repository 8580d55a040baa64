import type { DataSource } from 'typeorm';

/** A kind of database, or the options of a DataSource. */
interface OfType {
  readonly type: string;
}

/** What is a string in SQL, which stays as it is, a name in double quotes, or a parameter. */
const PARTS = /'(?:[^']|'')*'|"([^"]+)"|\$(\d+)/g;

/**
 * Returns a statement as a database reads it. It is given with names in double quotes, and with its
 * parameters as `$1`, `$2` and so on, each of them once and in this order.
 */
export function sqlOf(database: OfType, sql: string): string {
  return sql.replace(PARTS, (part, name?: string, parameter?: string) => {
    if (name !== undefined) return quoted(database, name);
    return parameter !== undefined && database.type !== 'postgres' ? '?' : part;
  });
}

/** Returns a name in the quotes of a database. */
export function quoted(database: OfType, name: string): string {
  return isMysql(database) ? `\`${name}\`` : `"${name}"`;
}

/** Returns bytes as a literal of a database. */
export function bytesOf({ type }: OfType, bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return type === 'postgres' ? `'\\x${hex}'::bytea` : `x'${hex}'`;
}

/** Returns a statement as it would be with the names in double quotes, whatever database it was for. */
export function inDoubleQuotes(sql: string): string {
  return sql.replaceAll('`', '"');
}

/** Returns the name of a table behind its schema, which MySQL calls a database. */
export function qualified({ driver, options }: DataSource, table: string): string {
  switch (options.type) {
    case 'postgres':
      return `public.${table}`;
    case 'mysql':
    case 'mariadb':
      return `${String(driver.database)}.${table}`;
    default:
      return `main.${table}`;
  }
}

/** Returns the statement that drops an index of a table. */
export function dropIndex(database: OfType, name: string, table: string): string {
  const on = isMysql(database) ? ` ON ${quoted(database, table)}` : '';
  return `DROP INDEX ${quoted(database, name)}${on}`;
}

function isMysql({ type }: OfType): boolean {
  return type === 'mysql' || type === 'mariadb';
}
