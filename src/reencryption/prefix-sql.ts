import type { DataSource } from 'typeorm';

/**
 * SQL for the 12-character header prefix of a stored value. SQLite has no base64: there, the prefix
 * of bytes comes in hexadecimal.
 */
export function prefixSql(
  { driver }: DataSource,
  column: string,
  storage: 'text' | 'binary',
): string {
  if (storage === 'text') return `substr(${column}, 1, 12)`;
  return driver.options.type === 'postgres'
    ? `translate(encode(substr(${column}, 1, 9), 'base64'), '+/', '-_')`
    : `hex(substr(${column}, 1, 9))`;
}
