import type { ObjectLiteral } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { RowContextForm } from '../../field/row-context';

import { canonicalForm } from './canonical-value';
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
  readonly #names: readonly string[];
  readonly #form: RowContextForm;
  readonly #canonical: readonly ((stored: unknown) => string)[];

  constructor(bound: readonly BoundColumn[]) {
    this.#form = new RowContextForm(bound.map(({ name }) => ({ kind: 'bind', name })));
    this.#names = this.#form.parts.map(({ name }) => name);
    this.columns = this.#names.flatMap((name) => columnNamed(bound, name));
    this.#canonical = this.columns.map(canonicalForm);
  }

  /** Whether it gives every row the same context as another one. */
  equals(other: RowBinding): boolean {
    return (
      this.columns.length === other.columns.length &&
      this.columns.every((column, i) => column === other.columns[i]) &&
      this.#names.every((name, i) => name === other.#names[i])
    );
  }

  /**
   * Returns the context of a row.
   *
   * @param cell - returns what the database has in the column at a position
   * @throws {@link UnsupportedValueError} for a value that is NULL, missing, or not held exactly
   */
  contextOf(cell: (position: number) => unknown): string {
    return this.#form.of((i) => this.#canonical[i]?.(cell(i)) ?? '');
  }

  /** {@link RowBinding.contextOf} for an entity, or values to write. */
  contextIn(values: ObjectLiteral): string {
    return this.contextOf((i) => this.columns[i]?.getEntityValue(values, true) as unknown);
  }
}

/**
 * Returns a stored value for `decryptStored`, with its row if it is bound to that.
 *
 * @param cell - as for {@link RowBinding.contextOf}
 */
export function inRow(
  { binding }: { readonly binding: RowBinding | undefined },
  stored: unknown,
  cell: (position: number) => unknown,
): unknown {
  if (binding === undefined || stored === null || stored === undefined) return stored;
  return new StoredInRow(stored, binding.contextOf(cell));
}

function columnNamed(bound: readonly BoundColumn[], wanted: string): ColumnMetadata[] {
  return bound.filter(({ name }) => name === wanted).map(({ column }) => column);
}
