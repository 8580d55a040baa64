import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import type { ForeignKeyMetadata } from 'typeorm/metadata/ForeignKeyMetadata.js';

import type { FieldPolicy } from '../../field/field-policy';
import { isMarked } from '../declare/column-guard';

import { canonicalProblem } from './canonical-value';
import { policyRefused } from './encrypted-column';
import type { EncryptedColumn } from './encrypted-column';
import { isMadeByOthers, namedColumns } from './named-columns';
import { RowBinding } from './row-binding';
import type { RowScope } from './row-scope';

/** What values of an encrypted column are bound to. */
interface BindingParts {
  readonly bindTo: readonly string[];
  readonly policy: Pick<FieldPolicy, 'entity' | 'property'>;
  readonly scope: RowScope | undefined;
}

/**
 * Returns the binding that `bindTo` or a scope declares for an encrypted column; `undefined` without it.
 *
 * @param earlier - columns of the entity whose binding is shared if it is equal, so that the context of a row
 * is made once for them
 * @throws {@link InvalidFieldPolicyError} for anything but columns that are known before the insert and never
 * change
 */
export function rowBindingOf(
  source: ColumnMetadata,
  { bindTo, policy, scope }: BindingParts,
  earlier: readonly EncryptedColumn[],
): RowBinding | undefined {
  if (bindTo.length === 0 && scope === undefined) return undefined;
  const what = 'bindTo of @Encrypted';
  const binding = new RowBinding(
    bindTo.map((name) => ({ name, column: constantColumn(source, name, { what, policy }) })),
    scope,
  );
  return earlier.find((other) => other.binding?.equals(binding))?.binding ?? binding;
}

/**
 * Returns the column that a property path names, which is known before the insert and never changes.
 *
 * @param option - that names it, for messages.
 * @throws {@link InvalidFieldPolicyError} for any other
 */
export function constantColumn(
  source: ColumnMetadata,
  path: string,
  option: {
    readonly what: string;
    readonly policy: Pick<FieldPolicy, 'entity' | 'property'>;
  },
): ColumnMetadata {
  const [column, ...others] = namedColumns(source, path);
  const problem =
    column === undefined || others.length > 0
      ? 'is neither a column of the entity nor a relation with one foreign key column. Name one of these'
      : problemOf(column);
  if (column !== undefined && problem === undefined) return column;
  throw policyRefused(option.policy, `"${path}" in ${option.what} ${String(problem)}.`);
}

function problemOf(column: ColumnMetadata): string | undefined {
  if (isMarked(column)) return 'is encrypted. Name properties that are not';
  if (column.isGenerated) {
    return (
      'is made by the database, after the value is encrypted. Make it in the application: ' +
      `@PrimaryColumn('uuid') ${column.propertyName}: string = randomUUID()`
    );
  }
  if (isMadeByOthers(column) || column.isDeleteDate) {
    return 'is set by TypeORM or the database. Name properties that the application sets';
  }
  if (column.isNullable) return 'may be NULL. Name columns that every row has a value for';
  if (!column.isSelect || !column.isInsert) {
    return 'is not read or written like other columns. Take "select: false" or "insert: false" away';
  }
  const changing = column.entityMetadata.foreignKeys.find(
    (key) => key.columns.includes(column) && changesRows(key),
  );
  if (changing !== undefined) {
    return 'is a foreign key that the database changes. Take "onUpdate" away, and "onDelete" unless it is CASCADE';
  }
  if (column.isVirtual) {
    return (
      'is a relation whose foreign key is no property of the entity, so that rows are loaded and updated without it. ' +
      `Declare it: @Column() ${column.databaseName}, and name that`
    );
  }
  return canonicalProblem(column);
}

function changesRows({ onDelete, onUpdate }: ForeignKeyMetadata): boolean {
  const changes = ['CASCADE', 'SET NULL', 'SET DEFAULT'];
  return (
    changes.includes(onUpdate ?? 'NO ACTION') ||
    (onDelete !== 'CASCADE' && changes.includes(onDelete ?? 'NO ACTION'))
  );
}
