import { DriverUtils } from 'typeorm/driver/DriverUtils.js';
import { HEADER_BYTES, PREFIX_CHARS } from '../../format/field-ciphertext';
import type { EncryptedColumn } from '../encrypted-column';
import type { Installation } from '../installation';
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
  const prefixes = new Set<string>();
  for (const [key, encrypted] of selectedColumns(expressions, installation)) {
    collect(rows, key, encrypted.policy.storage, prefixes);
  }
  return prefixes;
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

function collect(
  rows: readonly Record<string, unknown>[],
  key: string,
  storage: 'text' | 'binary',
  prefixes: Set<string>,
): void {
  let last = '';
  for (const row of rows) {
    const stored = row[key];
    if (storage === 'text') {
      if (typeof stored !== 'string' || (last !== '' && stored.startsWith(last))) continue;
      last = stored.slice(0, PREFIX_CHARS);
    } else {
      if (!(stored instanceof Uint8Array) && !Buffer.isBuffer(stored)) continue;
      last = Buffer.from(
        stored.buffer,
        stored.byteOffset,
        Math.min(HEADER_BYTES, stored.length),
      ).toString('base64url');
    }
    prefixes.add(last);
  }
}
