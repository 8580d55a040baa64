import type { ObjectLiteral } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { RowContextForm } from '../../field/row-context';

import { canonicalStored } from './canonical-value';
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
  /** The scope of the row, if its values have keys of that. */
  readonly scope: RowScope | undefined;
  readonly #form: RowContextForm;
  readonly #bound: readonly ColumnMetadata[];

  constructor(bound: readonly BoundColumn[], scope?: RowScope) {
    const scoped = scope === undefined ? [] : [{ kind: 'scope', name: scope.kind } as const];
    const parts = bound.map(({ name }) => ({ kind: 'bind', name }) as const);
    this.scope = scope;
    // Their parts come before that of the scope.
    this.#form = new RowContextForm([...parts, ...scoped]);
    this.#bound = this.#form.parts.flatMap(
      (part) => bound.find(({ name }) => part.kind === 'bind' && name === part.name)?.column ?? [],
    );
    this.columns = [...new Set([...this.#bound, ...(scope?.column ? [scope.column] : [])])];
  }

  /** The names of the parts; bindings of an entity with the same names are equal. */
  get names(): readonly string[] {
    return this.#form.parts.map(({ kind, name }) => `${kind} ${name}`);
  }

  /**
   * Returns the context of a row, from its columns as the database has them.
   *
   * @param scopeId - of a row that was read. Defaults to that of the row's column, or of the context.
   * @throws {@link UnsupportedValueError} for a value that is NULL, missing, or not held exactly
   */
  contextOf(
    stored: (column: ColumnMetadata, position: number) => unknown,
    scopeId?: string,
  ): string {
    const values = this.#bound.map((column) =>
      canonicalStored(column, stored(column, this.columns.indexOf(column))),
    );
    if (this.scope !== undefined) {
      const value = (column: ColumnMetadata): unknown =>
        stored(column, this.columns.indexOf(column));
      values.push(scopeId ?? this.scope.of({ value }).id);
    }
    return this.#form.of(values);
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
