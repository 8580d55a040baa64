import type { ObjectLiteral } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { RowContextForm } from '../../field/row-context';

import { canonicalStored } from './canonical-value';
import { StoredInRow } from './stored-in-row';

/** A column that values are bound to, under the name that `bindTo` gives it. */
export interface BoundColumn {
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
  contextOf(stored: (column: ColumnMetadata, position: number) => unknown): string {
    return this.#form.of(
      this.columns.map((column, i) => canonicalStored(column, stored(column, i))),
    );
  }

  /** {@link RowBinding.contextOf} for an entity, or values to write. */
  contextIn(values: ObjectLiteral): string {
    return this.contextOf((column) => column.getEntityValue(values, true) as unknown);
  }
}

/**
 * Returns a stored value for `decryptStored`, with its row if it is bound to that.
 *
 * @param cell - returns what the database has in another column of the row
 */
export function inRow(
  { binding }: { readonly binding: RowBinding | undefined },
  stored: unknown,
  cell: (column: ColumnMetadata, position: number) => unknown,
): unknown {
  if (binding === undefined || stored === null || stored === undefined) return stored;
  return new StoredInRow(stored, binding.contextOf(cell));
}
