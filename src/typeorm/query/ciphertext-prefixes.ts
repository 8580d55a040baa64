import { DriverUtils } from 'typeorm/driver/DriverUtils.js';
import type { EncryptedColumn } from '../encrypted-column';
import type { Installation } from '../installation';
import { KeyPrefixes } from '../key-prefixes';
import type { Expressions } from './any-query-builder';

/**
 * Collects the header prefixes of the ciphertexts in raw rows, so that all missing data keys can be
 * fetched at once before TypeORM hydrates, which is synchronous.
 */
export function ciphertextPrefixes(
  rows: readonly Record<string, unknown>[],
  expressions: Expressions,
  installation: Installation,
): Set<string> {
  const prefixes = new KeyPrefixes();
  for (const [key, encrypted] of selectedColumns(expressions, installation)) {
    for (const row of rows) prefixes.add(encrypted, row[key]);
  }
  return prefixes.found;
}

/** The encrypted columns that a query can select, by the name they have in its raw rows. */
export function selectedColumns(
  expressions: Expressions,
  { dataSource, encryptedEntity }: Installation,
): [key: string, column: EncryptedColumn][] {
  const selected: [string, EncryptedColumn][] = [];
  for (const alias of expressions.aliases) {
    if (!alias.hasMetadata) continue;
    for (const encrypted of encryptedEntity(alias.metadata)?.columns ?? []) {
      const { databaseName } = encrypted.column;
      selected.push([
        DriverUtils.buildAlias(dataSource.driver, undefined, alias.name, databaseName),
        encrypted,
      ]);
    }
  }
  return selected;
}

/** The selections of a query with encrypted columns replaced by the primary key of their row. */
export function countedSelects(
  { aliases, selects }: Expressions,
  { encryptedEntity }: Installation,
): Expressions['selects'] {
  const replacements = new Map<string, Expressions['selects']>();
  for (const alias of aliases) {
    if (!alias.hasMetadata) continue;
    const { metadata, name } = alias;
    const key = metadata.primaryColumns.map(({ propertyPath }) => ({
      selection: `${name}.${propertyPath}`,
    }));
    for (const { column } of encryptedEntity(metadata)?.columns ?? []) {
      replacements.set(`${name}.${column.propertyPath}`, key);
    }
  }
  return selects.flatMap((select) => replacements.get(select.selection) ?? [select]);
}
