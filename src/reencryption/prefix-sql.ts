import type { DataSource } from 'typeorm';

/**
 * SQL for the 12-character header prefix of a stored value. SQLite has no base64: there, the prefix
 * of bytes comes in hexadecimal. Its cells have types of their own, whatever the column's: a ciphertext
 * that somebody has made a BLOB still needs its key.
 */
export function prefixSql(
  { driver }: DataSource,
  column: string,
  storage: 'text' | 'binary',
): string {
  if (driver.options.type === 'postgres') {
    return storage === 'text'
      ? `substr(${column}, 1, 12)`
      : `translate(encode(substr(${column}, 1, 9), 'base64'), '+/', '-_')`;
  }
  return storage === 'text'
    ? `substr(CAST(${column} AS TEXT), 1, 12)`
    : `hex(substr(CAST(${column} AS BLOB), 1, 9))`;
}

/** SQL for the length of a stored value: characters of a text, bytes of what should be bytes. */
export function lengthSql(
  { driver }: DataSource,
  column: string,
  storage: 'text' | 'binary',
): string {
  const isSure = storage === 'text' || driver.options.type === 'postgres';
  return isSure ? `length(${column})` : `length(CAST(${column} AS BLOB))`;
}
