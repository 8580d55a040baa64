import type { DataSource } from 'typeorm';
import { CheckMetadata } from 'typeorm/metadata/CheckMetadata.js';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { isBoundField } from '../../field/field-policy';
import type { FieldPolicy } from '../../field/field-policy';
import { storedLength } from '../../format/field-ciphertext';
import type { Storage } from '../../format/field-ciphertext';

/** Returns the length of the shortest ciphertext: of an empty text, in the suite with the shortest nonce. */
function shortest(storage: Storage): number {
  return storedLength(0, 'aes-256-gcm-siv', storage);
}

/**
 * Returns SQL that is true for the stored form of a ciphertext, false for anything else, and NULL for
 * NULL, which a CHECK constraint lets pass.
 *
 * Base64url of the format byte 0x01 begins with `A` and one of `Q` to `f`, since the second character
 * holds the last two bits of that byte and four of the key id; that of 0x02 with `A` and one of `g` to `v`.
 */
export function isCiphertextSql({ driver }: DataSource, name: string, policy: FieldPolicy): string {
  const { storage } = policy;
  const isBound = isBoundField(policy);
  const length = String(shortest(storage));
  const isPostgres = driver.options.type === 'postgres';
  if (storage === 'binary') {
    const formats = (isBound ? ['01', '02'] : ['01']).map((byte) =>
      isPostgres ? `decode('${byte}', 'hex')` : `x'${byte}'`,
    );
    const first = formats.length === 1 ? `= ${String(formats[0])}` : `IN (${formats.join(', ')})`;
    const bytes = isPostgres ? 'octet_length' : 'length';
    return `substr(${name}, 1, 1) ${first} AND ${bytes}(${name}) >= ${length}`;
  }
  const second = secondCharacter(isBound);
  // The collation of the column must not decide what a range of characters holds.
  return isPostgres
    ? `${name} COLLATE "C" ~ '^A${second}[A-Za-z0-9_-]*$' AND length(${name}) >= ${length}`
    : `${name} GLOB 'A${second}*' AND ${name} NOT GLOB '*[^A-Za-z0-9_-]*' AND length(${name}) >= ${length}`;
}

function secondCharacter(isBound: boolean): string {
  return isBound ? '[Q-Za-v]' : '[Q-Za-f]';
}

/**
 * Returns the condition of the constraint. SQLite takes longer to check the alphabet of a long text than for
 * the rest of an insert, and compiles the condition into every statement that it prepares. So there it is
 * one pattern, for as many characters as the shortest ciphertext has.
 */
function checkSql(dataSource: DataSource, name: string, policy: FieldPolicy): string {
  if (policy.storage !== 'text' || dataSource.options.type === 'postgres') {
    return isCiphertextSql(dataSource, name, policy);
  }
  const rest = '[A-Za-z0-9_-]'.repeat(shortest('text') - 2);
  return `${name} GLOB 'A${secondCharacter(isBoundField(policy))}${rest}*'`;
}

/** The CHECK constraint of a column. */
export interface CiphertextCheck {
  readonly constraint: CheckMetadata;
  /** Whether `check: true` asks for it, rather than the default. */
  readonly isDeclared: boolean;
}

/**
 * Returns the CHECK constraint that keeps cleartext out of a column. TypeORM tells constraints apart by name
 * alone, and derives the name from the expression.
 */
export function ciphertextCheck(
  column: ColumnMetadata,
  policy: FieldPolicy,
  dataSource: DataSource,
): CheckMetadata {
  const { entityMetadata } = column;
  const name = dataSource.driver.escape(column.databaseName);
  const expression = checkSql(dataSource, name, policy);
  return new CheckMetadata({
    entityMetadata,
    args: { target: entityMetadata.target, expression },
  }).build(dataSource.namingStrategy);
}

/**
 * Returns the constraint that the column had before the property got `bindTo` or keys of scopes, or had as long as
 * it was so: values of the one form may not pass that of the other.
 */
export function otherCiphertextCheck(
  ...[column, policy, dataSource]: Parameters<typeof ciphertextCheck>
): CheckMetadata {
  const boundTo = isBoundField(policy) ? [] : [policy.property];
  return ciphertextCheck(column, { ...policy, boundTo }, dataSource);
}

/** Adds the constraint to the metadata, so that `synchronize` and `migration:generate` know it. */
export function addCiphertextCheck(...of: Parameters<typeof ciphertextCheck>): CheckMetadata {
  const check = ciphertextCheck(...of);
  check.entityMetadata.checks.push(check);
  return check;
}
