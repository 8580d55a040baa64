import type { ObjectLiteral } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { RowContextForm, utf8 } from '../../field/row-context';

import { canonicalForm } from './canonical-value';
import type { RowScope } from './row-scope';
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
  /** The scope of the row, if its values have keys of that. */
  readonly #scope: RowScope | undefined;
  readonly #form: RowContextForm;
  readonly #canonical: readonly ((stored: unknown) => string)[];

  constructor(bound: readonly BoundColumn[], scope?: RowScope) {
    const parts = bound.map(({ name }) => ({ kind: 'bind', name }) as const);
    this.#form = new RowContextForm(
      scope === undefined ? parts : [...parts, { kind: 'scope', name: scope.kind }],
    );
    this.#scope = scope;
    this.#names = this.#form.parts.map(({ kind, name }) => `${kind} ${name}`);
    // The part of the scope is the last one.
    const columns = this.#form.parts.flatMap(({ kind, name }) =>
      kind === 'bind' ? columnNamed(bound, name) : [],
    );
    this.#canonical = columns.map(canonicalForm);
    this.columns = scope?.column === undefined ? columns : [...columns, scope.column];
  }

  /** Whether it gives every row the same context as another one. */
  equals(other: RowBinding): boolean {
    return isEqual(this.columns, other.columns) && isEqual(this.#names, other.#names);
  }

  /**
   * Returns the context of a row.
   *
   * @param cell - returns what the database has in the column at a position
   * @param scopeId - of a row that was read. Defaults to that of the row's column, or of the context.
   * @throws {@link UnsupportedValueError} for a value that is NULL, missing, or not held exactly
   */
  contextOf(cell: (position: number) => unknown, scopeId?: string): string {
    return this.#form.of((i) => {
      const canonical = this.#canonical[i];
      return canonical === undefined ? utf8(scopeId ?? this.#scopeId(cell)) : canonical(cell(i));
    });
  }

  #scopeId(cell: (position: number) => unknown): string {
    const row = { value: (column: ColumnMetadata) => cell(this.columns.lastIndexOf(column)) };
    return this.#scope?.of(row).id ?? '';
  }

  /** {@link RowBinding.contextOf} for an entity, or values to write. */
  contextIn(values: ObjectLiteral, scopeId?: string): string {
    return this.contextOf((i) => this.columns[i]?.getEntityValue(values, true) as unknown, scopeId);
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

function isEqual<T>(some: readonly T[], others: readonly T[]): boolean {
  return some.length === others.length && some.every((each, i) => each === others[i]);
}

function columnNamed(bound: readonly BoundColumn[], wanted: string): ColumnMetadata[] {
  return bound.filter(({ name }) => name === wanted).map(({ column }) => column);
}
