import { UnsupportedQueryError } from '../../errors';
import type { EncryptedColumn, EncryptedEntity } from '../encrypted-column';
import { describeColumn } from '../encrypted-column';

/** What TypeORM's `orUpdate` is told; TypeORM 0.3 also takes all of it in one object. */
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
 * What `orUpdate` is told, with the index columns of encrypted ones overwritten along with them, and
 * encrypted columns as the conflict target replaced by their unique blind index.
 *
 * @throws {@link UnsupportedQueryError} for a conflict target without one, and for an encrypted
 * column that a parameter is to be stored in as it stands
 */
export function overwriteOnConflict(
  entity: EncryptedEntity,
  { overwrite, conflict }: OnConflict,
): OnConflict {
  if (typeof overwrite !== 'object' || overwrite === null || Array.isArray(overwrite)) {
    return {
      overwrite: withIndexes(entity, overwrite),
      conflict: conflictTarget(entity, conflict),
    };
  }
  const inOne = overwrite as InOneObject;
  refuseParameters(entity, inOne.columns);
  return {
    overwrite: {
      ...inOne,
      overwrite: withIndexes(entity, inOne.overwrite),
      conflict_target: conflictTarget(entity, inOne.conflict_target),
    },
    conflict,
  };
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
  return conflict.map((name: string) => conflictColumn(entity, name));
}

/** No two ciphertexts are alike, so that none conflicts with another. */
function conflictColumn(entity: EncryptedEntity, name: string): string {
  const encrypted = entity.columns.find(({ column }) => column.databaseName === name);
  if (encrypted === undefined) return name;
  const unique = encrypted.indexes.find(({ policy }) => policy.unique);
  if (unique !== undefined) return unique.column.databaseName;
  throw refused(
    encrypted,
    'cannot be a conflict target by itself. Add @BlindIndex({ unique: true }) to it, or name another column.',
  );
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
  const { entity, property } = encrypted.policy;
  return new UnsupportedQueryError(`${describeColumn(encrypted)} is encrypted and ${problem}`, {
    entity,
    property,
  });
}
