import type { DataSource } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import type { InvalidFieldPolicyError } from '../../errors';
import type { FieldPolicy } from '../../field/field-policy';
import { isMarked } from '../declare/column-guard';
import type { BlindIndexColumnGuard } from '../declare/column-guard';

import { policyRefused } from './encrypted-column';
import type { EncryptedColumn } from './encrypted-column';
import { isMadeByOthers, namedColumns } from './named-columns';

/**
 * Returns the columns that `uniqueWith` names.
 *
 * @throws {@link InvalidFieldPolicyError} for anything but a column of the entity that the application sets
 */
export function uniqueWithColumns(
  source: ColumnMetadata,
  { options: { uniqueWith = [] } }: BlindIndexColumnGuard,
  policy: FieldPolicy,
): ColumnMetadata[] {
  const columns = uniqueWith.flatMap((path) => columnsOf(source, path, policy));
  return [...new Set(columns)];
}

function columnsOf(source: ColumnMetadata, path: string, policy: FieldPolicy): ColumnMetadata[] {
  const columns = namedColumns(source, path);
  if (columns.length === 0) {
    throw refused(
      policy,
      path,
      'is neither a column of the entity nor a relation whose foreign key it has. Name one of these',
    );
  }
  for (const column of columns) {
    const problem = problemOf(column);
    if (problem !== undefined) throw refused(policy, path, problem);
  }
  return columns;
}

function problemOf(column: ColumnMetadata): string | undefined {
  if (isMarked(column)) {
    return 'is encrypted, and no two ciphertexts are equal. Name properties that are not encrypted';
  }
  if (column.isDeleteDate) {
    return (
      'is NULL in every row that is not deleted, and NULL equals nothing: no two such rows would be ' +
      'duplicates. Leave it out; deleted rows keep their value'
    );
  }
  return isMadeByOthers(column)
    ? 'is set by TypeORM or the database. Name properties that the application sets'
    : undefined;
}

function refused(policy: FieldPolicy, path: string, problem: string): InvalidFieldPolicyError {
  return policyRefused(policy, `"${path}" in uniqueWith of @BlindIndex ${problem}.`);
}

/** Returns the declaration to use instead of a unique constraint or index over an encrypted property or its token. */
export function uniqueRemedy(constrained: readonly ColumnMetadata[]): string {
  const others = constrained.filter((column) => !isMarked(column));
  if (others.length === 0) return '@BlindIndex({ unique: true })';
  const paths = others.map(
    (column) => column.relationMetadata?.propertyPath ?? column.propertyPath,
  );
  return `@BlindIndex({ uniqueWith: [${[...new Set(paths)].map((path) => `'${path}'`).join(', ')}] })`;
}

/**
 * Refuses unique constraints and indexes over index columns that were not declared by `@BlindIndex`: while
 * an index changes, two tokens of one value may differ, and only its own constraints are guarded then.
 */
export function assertUniquenessDeclared(
  { entityMetadatas }: DataSource,
  encrypted: Iterable<EncryptedColumn>,
): void {
  const tokens = new Map(
    [...encrypted].flatMap((each) =>
      each.indexes.map(({ column, databaseIndex }) => [column, { each, databaseIndex }] as const),
    ),
  );
  for (const { uniques, indices } of entityMetadatas) {
    const unique = [...uniques, ...indices.filter(({ isUnique }) => isUnique)];
    for (const constraint of unique) {
      for (const column of constraint.columns) {
        const token = tokens.get(column);
        if (token === undefined || token.databaseIndex === constraint) continue;
        throw declaredBeside(token.each, column, constraint.columns);
      }
    }
  }
}

function declaredBeside(
  encrypted: EncryptedColumn,
  token: ColumnMetadata,
  constrained: readonly ColumnMetadata[],
): InvalidFieldPolicyError {
  return policyRefused(
    encrypted.policy,
    `a unique constraint or index names its index column "${token.propertyName}". ` +
      `It would let duplicates in while the index changes. Use ${uniqueRemedy(constrained)} instead.`,
  );
}
