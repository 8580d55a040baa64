import type { DataSource } from 'typeorm';
import { CheckMetadata } from 'typeorm/metadata/CheckMetadata.js';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { isBoundField } from '../../field/field-policy';
import type { FieldPolicy } from '../../field/field-policy';
import { storedLength } from '../../format/field-ciphertext';
import { dialectOf } from '../dialect/dialect-of';
import type { CiphertextForm } from '../dialect/sql-forms';

/**
 * Returns the form of a column's ciphertexts.
 *
 * Base64url of the format byte 0x01 begins with `A` and one of `Q` to `f`, since the second character
 * holds the last two bits of that byte and four of the key id; that of 0x02 with `A` and one of `g` to `v`.
 */
function formOf(policy: FieldPolicy): CiphertextForm {
  const { storage } = policy;
  // Of an empty text, in the suite with the shortest nonce.
  const shortest = storedLength(0, 'aes-256-gcm-siv', storage);
  return isBoundField(policy)
    ? { storage, formats: ['01', '02'], second: '[Q-Za-v]', shortest }
    : { storage, formats: ['01'], second: '[Q-Za-f]', shortest };
}

/**
 * Returns SQL that is true for the stored form of a ciphertext, false for anything else, and NULL for
 * NULL, which a CHECK constraint lets pass.
 */
export function isCiphertextSql(dataSource: DataSource, name: string, policy: FieldPolicy): string {
  return dialectOf(dataSource).sql.isCiphertext(name, formOf(policy));
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
  const expression = dialectOf(dataSource).sql.checksCiphertext(name, formOf(policy));
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
