import type { DataSource } from 'typeorm';
import { CheckMetadata } from 'typeorm/metadata/CheckMetadata.js';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { storedLength } from '../format/field-ciphertext';
import type { Storage } from '../format/field-ciphertext';

/** The suite with the shortest nonce: no ciphertext is shorter, whatever the key's suite. */
const SHORTEST_SUITE = 'aes-256-gcm-siv';

/**
 * SQL that is true for the stored form of a ciphertext, false for anything else, and NULL for NULL,
 * which a CHECK constraint lets pass.
 *
 * Base64url of the format byte 0x01 begins with `A` and one of `Q` to `f`, since the second character
 * holds the last two bits of that byte and four of the key id.
 */
export function isCiphertextSql({ driver }: DataSource, column: string, storage: Storage): string {
  const length = String(storedLength(0, SHORTEST_SUITE, storage));
  const isPostgres = driver.options.type === 'postgres';
  if (storage === 'binary') {
    return isPostgres
      ? `substr(${column}, 1, 1) = decode('01', 'hex') AND octet_length(${column}) >= ${length}`
      : `substr(${column}, 1, 1) = x'01' AND length(${column}) >= ${length}`;
  }
  // The collation of the column must not decide what a range of characters holds.
  return isPostgres
    ? `${column} COLLATE "C" ~ '^A[Q-Za-f][A-Za-z0-9_-]*$' AND length(${column}) >= ${length}`
    : `${column} GLOB 'A[Q-Za-f]*' AND ${column} NOT GLOB '*[^A-Za-z0-9_-]*' AND length(${column}) >= ${length}`;
}

/** The CHECK constraint of a column. */
export interface CiphertextCheck {
  readonly constraint: CheckMetadata;
  /** Whether `check: true` asks for it, and not the default alone. */
  readonly isDeclared: boolean;
}

/**
 * The CHECK constraint that keeps cleartext out of a column. TypeORM tells constraints apart by name
 * alone, and makes the name from the expression.
 */
export function ciphertextCheck(
  column: ColumnMetadata,
  storage: Storage,
  dataSource: DataSource,
): CheckMetadata {
  const { entityMetadata } = column;
  const name = dataSource.driver.escape(column.databaseName);
  const expression = isCiphertextSql(dataSource, name, storage);
  return new CheckMetadata({
    entityMetadata,
    args: { target: entityMetadata.target, expression },
  }).build(dataSource.namingStrategy);
}

/** Adds the constraint to the metadata, so that `synchronize` and `migration:generate` know it. */
export function addCiphertextCheck(...of: Parameters<typeof ciphertextCheck>): CheckMetadata {
  const check = ciphertextCheck(...of);
  check.entityMetadata.checks.push(check);
  return check;
}
