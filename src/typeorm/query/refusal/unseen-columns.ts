import type { EntityMetadata, QueryRunner } from 'typeorm';

import type { Installation } from '../../installation/installation';
import { isIndexInTransition, queryRefused } from '../../metadata/encrypted-column';
import type { EncryptedColumn, IndexedColumn } from '../../metadata/encrypted-column';
import { isCleartextParameter } from '../../sql/raw-use';
import type { Expressions } from '../any-query-builder';

type Selects = Expressions['selects'];

/**
 * Returns the selections by which distinct rows are counted, with encrypted columns replaced by something
 * as distinct: the primary key if that is selected anyway, else the tokens of an exact index.
 *
 * @throws {@link UnsupportedQueryError} for a column that has no such index, or one that is changing
 */
export async function countedSelects(
  { aliases, selects }: Expressions,
  installation: Installation,
  queryRunner: QueryRunner,
): Promise<Selects> {
  const replacements = new Map<string, string>();
  for (const alias of aliases) {
    if (!alias.hasMetadata) continue;
    const { metadata, name } = alias;
    const isTold = primaryKey(name, metadata).every((key) => isSelected(selects, key));
    for (const encrypted of installation.encryptedEntity(metadata)?.columns ?? []) {
      const path = `${name}.${encrypted.column.propertyPath}`;
      if (!isSelected(selects, path)) continue;
      if (isTold) replacements.set(path, primaryKey(name, metadata)[0] ?? path);
      else {
        await installation.prepareIndexRoot(queryRunner);
        replacements.set(path, `${name}.${countedIndex(encrypted).column.propertyPath}`);
      }
    }
  }
  return selects.map((select) => ({
    ...select,
    selection: replacements.get(select.selection) ?? select.selection,
  }));
}

function primaryKey(name: string, { primaryColumns }: EntityMetadata): string[] {
  return primaryColumns.map(({ propertyPath }) => `${name}.${propertyPath}`);
}

function isSelected(selects: Selects, path: string): boolean {
  return selects.some(({ selection }) => selection === path);
}

/** Returns the exact index: normalized or truncated tokens may be equal for different values, and cleartext rows have none. */
function countedIndex(encrypted: EncryptedColumn): IndexedColumn {
  const exact = encrypted.indexes.find(
    ({ policy, index }) => policy.normalizer.id === 'exact' && !index.isTruncated,
  );
  const isSettled = exact !== undefined && !isIndexInTransition(encrypted, exact);
  if (isSettled && !encrypted.readsPlaintext) return exact;
  const problem =
    exact === undefined
      ? 'has no blind index that is exact, so its distinct values cannot be counted'
      : 'has rows that are not reindexed yet, so its distinct values cannot be counted';
  throw queryRefused(
    encrypted,
    `is encrypted and ${problem}. Select the primary key along with it to count rows, or leave "select" out.`,
  );
}

/**
 * Bypasses TypeORM's query cache if the result or the parameters of a query may hold cleartext: the cache
 * keeps both, even long after the rows have been encrypted.
 */
export function withoutCaching<T>(
  expressions: Expressions,
  installation: Installation,
  load: () => Promise<T>,
): Promise<T> {
  const { cache } = expressions;
  if (cache === false || !mayHoldCleartext(expressions, installation)) return load();
  try {
    expressions.cache = false;
    // TypeORM decides whether to use the cache before it waits for anything.
    return load();
  } finally {
    Object.assign(expressions, { cache });
  }
}

function mayHoldCleartext(
  { aliases, parameters }: Expressions,
  { encryptedEntity, options }: Installation,
): boolean {
  if (options.legacyPlaintext === undefined) return false;
  for (const alias of aliases) {
    const entity = alias.hasMetadata ? encryptedEntity(alias.metadata) : undefined;
    if (entity?.columns.some(({ readsPlaintext }) => readsPlaintext) === true) return true;
  }
  return Object.keys(parameters).some(isCleartextParameter);
}
