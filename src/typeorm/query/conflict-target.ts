import { UnsupportedQueryError } from '../../errors';
import type { EncryptedColumn, EncryptedEntity } from '../encrypted-column';
import { describeColumn } from '../encrypted-column';

/** The overwritten columns of TypeORM's `orUpdate`, with the index columns of encrypted ones. */
export function overwriteWithIndexes(entity: EncryptedEntity, overwrite: unknown): unknown {
  if (!Array.isArray(overwrite)) return overwrite;
  const names = new Set<string>(overwrite as string[]);
  for (const { column, indexes } of entity.columns) {
    if (!names.has(column.databaseName)) continue;
    for (const index of indexes) names.add(index.column.databaseName);
  }
  return [...names];
}

/**
 * The conflict target of TypeORM's `orUpdate`, with encrypted columns, of which no two values are
 * alike, replaced by their unique blind index.
 *
 * @throws {@link UnsupportedQueryError} for an encrypted column without one.
 */
export function conflictTarget(entity: EncryptedEntity, conflict: unknown): unknown {
  if (!Array.isArray(conflict)) return conflict;
  return conflict.map((name: string) => conflictColumn(entity, name));
}

function conflictColumn(entity: EncryptedEntity, name: string): string {
  const encrypted = entity.columns.find(({ column }) => column.databaseName === name);
  if (encrypted === undefined) return name;
  return uniqueIndexOf(encrypted);
}

function uniqueIndexOf(encrypted: EncryptedColumn): string {
  const unique = encrypted.indexes.find(({ policy }) => policy.unique);
  if (unique !== undefined) return unique.column.databaseName;
  const { entity, property } = encrypted.policy;
  throw new UnsupportedQueryError(
    `${describeColumn(encrypted)} is encrypted and cannot be a conflict target by itself. ` +
      'Add @BlindIndex({ unique: true }) to it, or name another column.',
    { entity, property },
  );
}
