import type { Driver } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { Sealed } from '../../../field/sealed';
import type { EncryptedColumn } from '../../metadata/encrypted-column';
import type { RowScope } from '../../metadata/row-scope';

import { columnsBeside, rawName } from './raw-result';
import type { Row } from './raw-result';
import { SealedColumn } from './sealed-column';
import type { SealedResult } from './sealed-column';

/** Makes sealed values of the rows of an entity in a result. As lean as can be: most are never revealed. */
export class SealedRows {
  readonly #result: SealedResult;
  readonly #alias: string;
  readonly #columns = new Map<EncryptedColumn, SealedColumn>();
  /** The columns whose cells a sealed value keeps of its row, with their positions and their names in raw rows. */
  readonly #positions = new Map<ColumnMetadata, number>();
  readonly #names: string[] = [];
  #row: Row | undefined;
  #cells: readonly unknown[] = [];
  #scope: RowScope | undefined;

  constructor(result: SealedResult, alias: string) {
    this.#result = result;
    this.#alias = alias;
  }

  /**
   * Returns a value of a row, still encrypted.
   *
   * @throws {@link ScopeMismatchError} for a row of another scope than that of the context
   */
  value(row: Row, encrypted: EncryptedColumn, stored: unknown): Sealed {
    const origin = this.#columns.get(encrypted) ?? this.#addColumn(encrypted);
    if (row !== this.#row) this.#goTo(row);
    const { scope } = encrypted;
    if (scope !== undefined && scope !== this.#scope) {
      scope.ofRead({ value: (column) => origin.cellOf(column, this.#cells) }, undefined);
      this.#scope = scope;
    }
    return new Sealed(origin, stored, this.#cells);
  }

  /** Copies the cells: a sealed value that is kept must not keep the whole row. */
  #goTo(row: Row): void {
    const names = this.#names;
    const cells = new Array<unknown>(names.length);
    for (let i = 0; i < cells.length; i += 1) cells[i] = row[names[i] as string];
    this.#row = row;
    this.#cells = cells;
    this.#scope = undefined;
  }

  #addColumn(encrypted: EncryptedColumn): SealedColumn {
    const driver: Driver = this.#result.installation.dataSource.driver;
    for (const column of columnsBeside(encrypted)) {
      if (this.#positions.has(column)) continue;
      this.#positions.set(column, this.#names.length);
      this.#names.push(rawName(driver, this.#alias, column));
    }
    // The cells of the present row are too few now.
    this.#row = undefined;
    const origin = new SealedColumn(this.#result, encrypted, this.#positions);
    this.#columns.set(encrypted, origin);
    return origin;
  }
}
