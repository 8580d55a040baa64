import type { DataSource } from 'typeorm';

/**
 * Returns SQL for the 12-character header prefix of a stored value. SQLite has no base64, so there the
 * prefix of bytes is in hexadecimal. Its cells have types of their own, whatever the column's: a
 * ciphertext that was stored as a BLOB still needs its key.
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

/** Whether {@link prefixSql} gives hexadecimal digits. */
export function isHexPrefix({ options }: DataSource, storage: 'text' | 'binary'): boolean {
  return storage === 'binary' && options.type !== 'postgres';
}
