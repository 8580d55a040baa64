import type { EntityMetadata, QueryRunner } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import type { SelectQuery } from 'typeorm/query-builder/SelectQuery.js';

import type { Sealed } from '../../../field/sealed';
import type { Installation } from '../../installation/installation';
import { scopeOfValue } from '../../metadata/encrypted-column';
import type { EncryptedColumn } from '../../metadata/encrypted-column';
import type { RowBinding } from '../../metadata/row-binding';
import { StoredInRow } from '../../metadata/stored-in-row';

import { columnsBeside, rawName } from './raw-result';
import type { Row } from './raw-result';
import { SealedRows } from './sealed-rows';

/**
 * Returns the columns that are selected of an entity, with those that encrypted ones among them are bound to, and
 * the primary key where one of them is sealed.
 * TypeORM leaves columns out of the entity that nobody has asked for.
 */
export function withBoundColumns(
  selects: SelectQuery[],
  alias: string,
  metadata: EntityMetadata,
  { dataSource: { driver }, encryptedEntity }: Installation,
): SelectQuery[] {
  const columns = (encryptedEntity(metadata)?.columns ?? []).filter(
    ({ binding, isSealed }) => binding !== undefined || isSealed,
  );
  if (columns.length === 0) return selects;
  const names = new Set(selects.map(({ aliasName }) => aliasName));
  const added: SelectQuery[] = [];
  for (const encrypted of columns) {
    if (!names.has(rawName(driver, alias, encrypted.column))) continue;
    for (const needed of columnsBeside(encrypted)) {
      const aliasName = rawName(driver, alias, needed);
      if (names.has(aliasName)) continue;
      names.add(aliasName);
      const selection = `${driver.escape(alias)}.${driver.escape(needed.databaseName)}`;
      added.push({ selection, aliasName, virtual: true });
    }
  }
  return [...selects, ...added];
}

/** The rows of an entity in raw results, under its alias. */
export class RawRows {
  readonly #installation: Installation;
  readonly #alias: string;
  readonly #readBy: QueryRunner | undefined;
  /** The names of the bound columns in raw rows. */
  readonly #names = new Map<RowBinding, readonly string[]>();
  #row: Row = {};
  #sealed: SealedRows | undefined;
  /** The context of the present row: columns of an entity mostly share a binding. */
  #known:
    | {
        readonly binding: RowBinding;
        readonly scopeId: string | undefined;
        readonly context: string;
      }
    | undefined;

  /** @param readBy - the connection of the result, if the application holds it. */
  constructor(installation: Installation, alias: string, readBy?: QueryRunner) {
    this.#installation = installation;
    this.#alias = alias;
    this.#readBy = readBy;
  }

  /** Goes to a row. */
  at(row: Row): this {
    if (this.#row !== row) this.#known = undefined;
    this.#row = row;
    return this;
  }

  /**
   * Returns a stored value of the row for `decryptStored`.
   *
   * @throws {@link ScopeMismatchError} for a row of another scope than that of the context, or of its value
   */
  inRow(encrypted: EncryptedColumn, stored: unknown): unknown {
    const { binding } = encrypted;
    if (binding === undefined) return stored;
    const scopeId = this.#scopeIdOf(encrypted, binding, stored);
    if (this.#known?.binding !== binding || this.#known.scopeId !== scopeId) {
      const names = this.#namesOf(binding);
      const context = binding.contextOf((i) => this.#row[names[i] ?? ''], scopeId);
      this.#known = { binding, scopeId, context };
    }
    return new StoredInRow(stored, this.#known.context);
  }

  /** Returns a stored value of the row, still encrypted; see {@link SealedRows.value}. */
  sealed(encrypted: EncryptedColumn, stored: unknown): Sealed {
    this.#sealed ??= new SealedRows(
      { installation: this.#installation, readBy: this.#readBy },
      this.#alias,
    );
    return this.#sealed.value(this.#row, encrypted, stored);
  }

  #scopeIdOf(encrypted: EncryptedColumn, binding: RowBinding, stored: unknown): string | undefined {
    const { scope } = encrypted;
    if (scope === undefined) return undefined;
    const { columns } = binding;
    const names = this.#namesOf(binding);
    const value = (column: ColumnMetadata): unknown =>
      this.#row[names[columns.lastIndexOf(column)] ?? ''];
    return scope.ofRead({ value }, scopeOfValue(this.#installation.keys, encrypted, stored)) ?? '';
  }

  #namesOf(binding: RowBinding): readonly string[] {
    let names = this.#names.get(binding);
    if (names === undefined) {
      const { driver } = this.#installation.dataSource;
      names = binding.columns.map((column) => rawName(driver, this.#alias, column));
      this.#names.set(binding, names);
    }
    return names;
  }
}

let current: RawRows | undefined;

/** Sets the rows from whose present one values are hydrated, which is synchronous. Returns those before. */
export function hydrate(rows: RawRows | undefined): RawRows | undefined {
  const outer = current;
  current = rows;
  return outer;
}

/** Returns a value that is being hydrated, still encrypted. */
export function sealedInHydratedRow(encrypted: EncryptedColumn, stored: unknown): Sealed {
  if (current === undefined) throw new TypeError('a sealed value is read from a row');
  return current.sealed(encrypted, stored);
}

/** Returns a value that is being hydrated for `decryptStored`. */
export function inHydratedRow(encrypted: EncryptedColumn, stored: unknown): unknown {
  return current === undefined ? stored : current.inRow(encrypted, stored);
}
