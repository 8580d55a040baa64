import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { MissingScopeError, ScopeMismatchError, UnsupportedValueError } from '../../errors';
import { contextBytes } from '../../field/row-context';
import { scopeId } from '../../keys/record/scope';
import type { Scope } from '../../keys/record/scope';
import { ALL_SCOPES } from '../../keys/scopes/scope-context';
import type { ContextScope } from '../../keys/scopes/scope-context';

import { canonicalForm } from './canonical-value';
import { knownRow } from './known-row';
import type { KnownRow } from './known-row';

/** The encrypted property that a scope is wanted for. */
interface ScopedProperty {
  readonly entity: string;
  readonly property: string;
}

/** The scope of the rows of an entity: by a column, by the context, or by both, which then must agree. */
export class RowScope {
  readonly kind: string;
  /** The column that names it, if there is one. */
  readonly column: ColumnMetadata | undefined;
  #canonical: ((stored: unknown) => string) | undefined;
  readonly #property: ScopedProperty;
  readonly #context: () => ContextScope;
  readonly #needsContext: boolean;

  constructor(parts: {
    readonly kind: string;
    readonly column: ColumnMetadata | undefined;
    readonly property: ScopedProperty;
    readonly context: () => ContextScope;
    /** Whether nothing is to be read or written without a context (`keyScope`). */
    readonly needsContext: boolean;
  }) {
    this.kind = parts.kind;
    this.column = parts.column;
    this.#property = parts.property;
    this.#context = parts.context;
    this.#needsContext = parts.needsContext;
  }

  /** Returns the scope of values of the same kind that are in no row, which the context alone tells. */
  outsideOfRows(property: ScopedProperty): RowScope {
    return new RowScope({
      ...{ kind: this.kind, column: undefined, property },
      ...{ context: this.#context, needsContext: this.#needsContext },
    });
  }

  /** What names it, for messages. */
  get name(): string {
    return this.column?.propertyPath ?? `the ${this.kind} of the context`;
  }

  /**
   * Returns the scope of the row whose values are at work, for new values and for look-ups.
   *
   * @throws {@link MissingScopeError}, {@link ScopeMismatchError}
   */
  current(): Scope {
    return this.of(knownRow());
  }

  /** {@link RowScope.current} of a row. */
  of(row: KnownRow | undefined): Scope {
    const context = this.#requiredContext();
    const value = this.column && row?.value(this.column);
    const own =
      this.column === undefined
        ? row?.scopeId?.(this.kind)
        : value === undefined
          ? undefined
          : this.#idOf(this.column, value);
    const id = own ?? (context === ALL_SCOPES ? undefined : context);
    if (id === undefined) throw this.#missing();
    if (context !== undefined && context !== ALL_SCOPES && context !== id) throw this.#mismatch();
    return { kind: this.kind, id };
  }

  /** {@link RowScope.of}, or undefined for a row of which the scope is not known yet. */
  ifKnown(row: KnownRow): Scope | undefined {
    const isKnown = this.column !== undefined && row.value(this.column) !== undefined;
    const context = this.#requiredContext();
    return isKnown || typeof context === 'string' ? this.of(row) : undefined;
  }

  /**
   * Checks a row that was read: that it belongs to the scope of the context, and its value to the row.
   *
   * @param ofKey - the scope of the key of its value; undefined for a common key, or one that cannot be had.
   * @returns the id of the row's scope; undefined if neither a column nor the key tells
   * @throws {@link ScopeMismatchError}, {@link MissingScopeError} where `keyScope` is set and says nothing
   */
  ofRead(row: KnownRow, ofKey: Scope | undefined): string | undefined {
    const id =
      this.column === undefined ? ofKey?.id : this.#idOf(this.column, row.value(this.column));
    const context = this.#requiredContext();
    if (context !== undefined && context !== ALL_SCOPES && id !== undefined && context !== id) {
      throw this.#mismatch();
    }
    if (ofKey !== undefined && (ofKey.kind !== this.kind || ofKey.id !== id)) {
      throw this.#copied();
    }
    return id;
  }

  /** Returns the error of a write to a row with values that are not under keys of the context's scope. */
  foreignRow(): ScopeMismatchError {
    const { entity, property } = this.#property;
    return new ScopeMismatchError(
      `${entity}.${property}: the write would change a row with values that are not under keys of the ${this.kind} ` +
        `of the context. Nothing was written. Write to rows of that ${this.kind} only.`,
      { entity, property },
    );
  }

  #idOf(column: ColumnMetadata, value: unknown): string {
    if (value === null || value === undefined) throw this.#missing();
    this.#canonical ??= canonicalForm(column);
    const id = scopeId(contextBytes(this.#canonical(value)).toString('utf8'));
    if (id !== undefined) return id;
    const { entity, property } = this.#property;
    throw new UnsupportedValueError(
      `${entity}.${property} has keys for each ${this.kind}, and ${column.propertyPath} of the row is empty or ` +
        'longer than 256 bytes. Give each an id of 1 to 256 bytes.',
      { entity, property },
    );
  }

  /** Refuses a row that says its scope, too, where the option `keyScope` says nothing. */
  #requiredContext(): ContextScope {
    const context = this.#context();
    if (context !== undefined || !this.#needsContext) return context;
    const { entity, property } = this.#property;
    throw new MissingScopeError(
      `${entity}.${property} has keys for each ${this.kind}, and the option keyScope says none for the work at hand, ` +
        'without which nothing is read or written. Run the work in the context of your application, in ' +
        'withKeyScope(id, …), or across scopes in withKeyScope(ALL_SCOPES, …).',
      { entity, property },
    );
  }

  #missing(): MissingScopeError {
    const { entity, property } = this.#property;
    const where =
      this.column === undefined
        ? `Run the work in withKeyScope({ ${this.kind}: id }, …), or set the option keyScope`
        : `Give the row its ${this.column.propertyPath}, or run the work in withKeyScope({ ${this.kind}: id }, …)`;
    return new MissingScopeError(
      `${entity}.${property} has keys for each ${this.kind}, and it is not known which: ` +
        `neither the row or condition nor the context says. ${where}.`,
      { entity, property },
    );
  }

  #mismatch(): ScopeMismatchError {
    const { entity, property } = this.#property;
    return new ScopeMismatchError(
      `${entity}.${property}: the row or condition is of another ${this.kind} than the context. Ask for rows of the ` +
        `${this.kind} of the context only, or run work across all of them in withKeyScope(ALL_SCOPES, …).`,
      { entity, property },
    );
  }

  #copied(): ScopeMismatchError {
    const { entity, property } = this.#property;
    return new ScopeMismatchError(
      `${entity}.${property}: its value was encrypted for another ${this.kind} than the row. The value, or the ` +
        `${this.kind} of the row, was changed past the library: restore the cell from a backup of the database. ` +
        '`field-encryption data verify` names such rows.',
      { entity, property },
    );
  }
}
