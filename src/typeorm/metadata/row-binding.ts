import type { ObjectLiteral } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import type { ForeignKeyMetadata } from 'typeorm/metadata/ForeignKeyMetadata.js';

import type { FieldPolicy } from '../../field/field-policy';
import { RowContextForm } from '../../field/row-context';
import { isMarked } from '../declare/column-guard';

import { canonicalProblem, canonicalStored } from './canonical-value';
import { policyRefused } from './encrypted-column';
import type { EncryptedColumn } from './encrypted-column';
import { isMadeByOthers, namedColumns } from './named-columns';
import { StoredInRow } from './stored-in-row';

/** A column that values are bound to, under the name that `bindTo` gives it. */
interface BoundColumn {
  readonly name: string;
  readonly column: ColumnMetadata;
}

/** The columns of a row that encrypted values in it are bound to. */
export class RowBinding {
  /** In the order of the context. */
  readonly columns: readonly ColumnMetadata[];
  readonly #form: RowContextForm;

  constructor(bound: readonly BoundColumn[]) {
    this.#form = new RowContextForm(bound.map(({ name }) => ({ kind: 'bind', name })));
    this.columns = this.#form.parts.flatMap(
      (part) => bound.find(({ name }) => name === part.name)?.column ?? [],
    );
  }

  /** The names of the columns; bindings of an entity with the same names are equal. */
  get names(): readonly string[] {
    return this.#form.parts.map(({ name }) => name);
  }

  /**
   * Returns the context of a row, from its columns as the database has them.
   *
   * @throws {@link UnsupportedValueError} for a value that is NULL, missing, or not held exactly
   */
  contextOf(stored: (column: ColumnMetadata) => unknown): string {
    return this.#form.of(this.columns.map((column) => canonicalStored(column, stored(column))));
  }

  /** {@link RowBinding.contextOf} for an entity, or values to write. */
  contextIn(values: ObjectLiteral): string {
    return this.contextOf((column) => column.getEntityValue(values, true) as unknown);
  }
}

/** Returns a stored value for `decryptStored`, with the row that has it as the database returned it. */
export function inRow(
  { binding }: Pick<EncryptedColumn, 'binding'>,
  stored: unknown,
  row: ObjectLiteral,
): unknown {
  if (binding === undefined || stored === null || stored === undefined) return stored;
  return new StoredInRow(
    stored,
    binding.contextOf((column) => column.getEntityValue(row) as unknown),
  );
}

/**
 * Returns the binding that `bindTo` declares for an encrypted column; `undefined` without it.
 *
 * @throws {@link InvalidFieldPolicyError} for anything but columns that are known before the insert and never
 * change
 */
export function rowBindingOf(
  source: ColumnMetadata,
  bindTo: readonly string[],
  policy: Pick<FieldPolicy, 'entity' | 'property'>,
): RowBinding | undefined {
  if (bindTo.length === 0) return undefined;
  return new RowBinding(
    bindTo.map((name) => ({ name, column: boundColumn(source, name, policy) })),
  );
}

function boundColumn(
  source: ColumnMetadata,
  path: string,
  policy: Pick<FieldPolicy, 'entity' | 'property'>,
): ColumnMetadata {
  const [column, ...others] = namedColumns(source, path);
  const problem =
    column === undefined || others.length > 0
      ? 'is neither a column of the entity nor a relation with one foreign key column. Name one of these'
      : problemOf(column);
  if (column !== undefined && problem === undefined) return column;
  throw policyRefused(policy, `"${path}" in bindTo of @Encrypted ${String(problem)}.`);
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
  return canonicalProblem(column);
}

function changesRows({ onDelete, onUpdate }: ForeignKeyMetadata): boolean {
  const changes = ['CASCADE', 'SET NULL', 'SET DEFAULT'];
  return (
    changes.includes(onUpdate ?? 'NO ACTION') ||
    (onDelete !== 'CASCADE' && changes.includes(onDelete ?? 'NO ACTION'))
  );
}
