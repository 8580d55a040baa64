import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import type { UnsupportedQueryError } from '../../../errors';
import { queryRefused } from '../../metadata/encrypted-column';
import type { EncryptedColumn, EncryptedEntity } from '../../metadata/encrypted-column';

/** The arguments of TypeORM's `orUpdate`; TypeORM 0.3 also takes them in one object. */
interface OnConflict {
  readonly overwrite: unknown;
  readonly conflict: unknown;
}

interface InOneObject {
  readonly overwrite?: unknown;
  readonly conflict_target?: unknown;
  /** Columns that are set from parameters of their names. */
  readonly columns?: unknown;
}

/**
 * Returns the arguments of `orUpdate`, with index columns overwritten along with their encrypted columns, and
 * encrypted columns of the conflict target replaced by their unique blind index.
 *
 * @throws {@link UnsupportedQueryError} for a conflict target without such an index, for an index column that
 * is overwritten without its property, and for an encrypted column that is set from a parameter
 */
export function overwriteOnConflict(
  entity: EncryptedEntity,
  { overwrite, conflict }: OnConflict,
): OnConflict {
  if (typeof overwrite !== 'object' || overwrite === null || Array.isArray(overwrite)) {
    refuseIndexColumns(entity, overwrite, conflict);
    refusePartOfTuple(entity, overwrite, conflict);
    refuseOtherRows(entity, overwrite, conflict);
    return {
      overwrite: withIndexes(entity, overwrite),
      conflict: conflictTarget(entity, conflict),
    };
  }
  const inOne = overwrite as InOneObject;
  refuseParameters(entity, inOne.columns);
  refuseIndexColumns(entity, inOne.overwrite, inOne.conflict_target);
  refusePartOfTuple(entity, inOne.overwrite ?? inOne.columns, inOne.conflict_target);
  refuseOtherRows(entity, inOne.overwrite ?? inOne.columns, inOne.conflict_target);
  return {
    overwrite: {
      ...inOne,
      overwrite: withIndexes(entity, inOne.overwrite),
      conflict_target: conflictTarget(entity, inOne.conflict_target),
    },
    conflict,
  };
}

/** Refuses to overwrite a token without its value. `upsert` names both, or the property as its conflict path. */
function refuseIndexColumns(entity: EncryptedEntity, overwrite: unknown, conflict: unknown): void {
  if (!Array.isArray(overwrite)) return;
  const named = new Set<unknown>([...(overwrite as unknown[]), ...listOf(conflict)]);
  for (const encrypted of entity.columns) {
    if (named.has(encrypted.column.databaseName)) continue;
    for (const { column } of encrypted.indexes) {
      if (!overwrite.includes(column.databaseName)) continue;
      throw refused(
        encrypted,
        `its index column "${column.databaseName}" cannot be overwritten by itself. ` +
          `Write ${encrypted.policy.property} instead, and name "${encrypted.column.databaseName}" to overwrite.`,
      );
    }
  }
}

function listOf(names: unknown): readonly unknown[] {
  return Array.isArray(names) ? (names as unknown[]) : [];
}

function withIndexes(entity: EncryptedEntity, overwrite: unknown): unknown {
  if (!Array.isArray(overwrite)) return overwrite;
  const names = new Set<string>(overwrite as string[]);
  for (const { column, indexes } of entity.columns) {
    if (!names.has(column.databaseName)) continue;
    for (const index of indexes) names.add(index.column.databaseName);
  }
  return [...names];
}

function conflictTarget(entity: EncryptedEntity, conflict: unknown): unknown {
  if (!Array.isArray(conflict)) return conflict;
  const names = conflict as string[];
  return names.map((name) => conflictColumn(entity, name, names));
}

/** Returns the unique index column of an encrypted one: no two ciphertexts are equal, so none conflict. */
function conflictColumn(entity: EncryptedEntity, name: string, all: readonly string[]): string {
  const encrypted = entity.columns.find(({ column }) => column.databaseName === name);
  if (encrypted === undefined) return name;
  const others = all.filter((each) => each !== name);
  const unique = encrypted.indexes.find(
    ({ policy, uniqueWith }) => policy.unique && isSameSet(namesOf(uniqueWith), others),
  );
  if (unique !== undefined) return unique.column.databaseName;
  throw refused(
    encrypted,
    others.length === 0
      ? 'cannot be a conflict target by itself. Add @BlindIndex({ unique: true }) to it, or name another column.'
      : `has no unique index over it and just "${others.join('", "')}". Add @BlindIndex({ uniqueWith: [...] }) ` +
          'with their properties, or name the columns of another unique index.',
  );
}

/**
 * Refuses to overwrite a part of a unique tuple: the rest is what the row already holds, so duplicates of
 * that tuple would not be found while the index changes.
 */
function refusePartOfTuple(entity: EncryptedEntity, overwrite: unknown, conflict: unknown): void {
  if (!Array.isArray(overwrite)) return;
  const overwritten = new Set<unknown>(overwrite);
  const same = new Set<unknown>(listOf(conflict));
  for (const { encrypted, indexed } of entity.uniqueIndexes) {
    if (indexed.uniqueWith.length === 0) continue;
    const tuple = namesOf([encrypted.column, ...indexed.uniqueWith]);
    const changed = tuple.filter((name) => overwritten.has(name) && !same.has(name));
    const left = tuple.filter((name) => !overwritten.has(name) && !same.has(name));
    if (changed.length === 0 || left.length === 0) continue;
    throw refused(
      encrypted,
      `unique together with other columns, of which an upsert cannot overwrite some only. Give "${left.join('", "')}" ` +
        'as well, or update the row in a statement of its own.',
    );
  }
}

/**
 * Refuses to overwrite a value that is bound to its row unless the row in conflict has the same bound columns
 * as the inserted one, and to overwrite these.
 */
function refuseOtherRows(entity: EncryptedEntity, overwrite: unknown, conflict: unknown): void {
  if (!Array.isArray(overwrite)) return;
  const overwritten = new Set<unknown>(overwrite);
  const same = new Set<unknown>(listOf(conflict));
  for (const encrypted of entity.columns) {
    for (const column of encrypted.binding?.columns ?? []) {
      const { databaseName, propertyPath } = column;
      if (same.has(databaseName)) continue;
      const isWritten = overwritten.has(encrypted.column.databaseName);
      if (!isWritten && !overwritten.has(databaseName)) continue;
      throw refused(
        encrypted,
        `bound to ${propertyPath} of its row, and the row in conflict may have another. Name ${propertyPath} ` +
          `(column "${databaseName}") among the conflict paths as well, over which there has to be a unique index ` +
          'together, or update the row in a statement of its own.',
      );
    }
  }
}

function namesOf(columns: readonly ColumnMetadata[]): string[] {
  return columns.map(({ databaseName }) => databaseName);
}

function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name) => b.includes(name));
}

function refuseParameters(entity: EncryptedEntity, columns: unknown): void {
  if (!Array.isArray(columns)) return;
  for (const encrypted of entity.columns) {
    const own = [encrypted, ...encrypted.indexes].map(({ column }) => column.databaseName);
    if (!own.some((name) => columns.includes(name))) continue;
    throw refused(
      encrypted,
      'cannot be set from a parameter, which would be stored in clear. Name it in "overwrite" instead.',
    );
  }
}

function refused(encrypted: EncryptedColumn, problem: string): UnsupportedQueryError {
  return queryRefused(encrypted, `is encrypted and ${problem}`);
}
