import { UnsupportedQueryError } from '../../errors';
import type { EncryptedColumn, EncryptedEntity } from '../encrypted-column';
import { describeColumn } from '../encrypted-column';

/**
 * The arguments of TypeORM's `orUpdate(overwrite, conflictTarget, options)` with encrypted columns
 * in the conflict target replaced by their unique blind index, and the index columns of overwritten
 * ones overwritten too.
 */
export function conflictTargets(entity: EncryptedEntity, args: readonly unknown[]): unknown[] {
  const [overwrite, conflict, ...rest] = args;
  return [
    Array.isArray(overwrite) ? overwriteWithIndexes(entity, overwrite as string[]) : overwrite,
    Array.isArray(conflict)
      ? conflict.map((name: string) => conflictColumn(entity, name))
      : conflict,
    ...rest,
  ];
}

function overwriteWithIndexes(entity: EncryptedEntity, names: readonly string[]): string[] {
  const all = new Set(names);
  for (const { column, indexes } of entity.columns) {
    if (!all.has(column.databaseName)) continue;
    for (const index of indexes) all.add(index.column.databaseName);
  }
  return [...all];
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
