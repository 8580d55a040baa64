import { ErasedError, FieldEncryptionError } from '../../errors';
import { CommonKeyError } from '../../field/field-errors';
import { scopeSlot } from '../../keys/record/scope';
import type { Scope } from '../../keys/record/scope';
import { NoScopeKeyError } from '../../keys/scopes/scope-key-errors';
import { isOwnKmsRefusal } from '../../keys/wrapping/own-kms-refusals';
import type { Installation } from '../../typeorm/installation/installation';
import { tellOfFailure } from '../../typeorm/metadata/failure-message';
import { KeyPrefixes } from '../../typeorm/metadata/key-prefixes';
import { withKnownRow } from '../../typeorm/metadata/known-row';
import type { KnownRow } from '../../typeorm/metadata/known-row';
import { keyPrefixOf, scopeOfValue } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { StoredInRow } from '../../typeorm/metadata/stored-in-row';
import { keyAt, lastKey } from '../database/row';
import type { PageChange, PageColumn, RowKey, StoredPage } from '../database/row';
import type { RunDatabase } from '../database/run-database';
import type { ColumnWork, WorkTable } from '../database/work-table';
import type { Mode, StoredField } from '../modes/mode';
import type { RowFailure, RowFailureCode } from '../report/run-report';

import { codeLeftBehind } from './outlives-erasure';

/** A page with its changes, ready to write. */
export interface WorkedPage {
  readonly rows: number;
  readonly last: RowKey;
  readonly changes: PageChange;
  readonly failures: readonly RowFailure[];
}

interface WorkedRows extends Pick<PageChange, 'rows' | 'cells'> {
  readonly failures: readonly RowFailure[];
}

/** Stands in a cell for what the run would write once there are keys for it. */
const TO_BE_WRITTEN = Symbol('to be written');

/** The parts of a run that work on pages depends on. */
interface PageWorkParts {
  readonly installation: Installation;
  readonly database: RunDatabase;
  readonly mode: Mode;
}

/** Applies the mode of a run to the rows of pages. */
export class PageWork {
  readonly #installation: Installation;
  readonly #database: RunDatabase;
  readonly #mode: Mode;
  readonly #table: WorkTable;
  readonly #isTrial: boolean;

  /** @param isTrial - whether nothing of it is written, so that no keys are made, and their uses do not count. */
  constructor(
    { installation, database, mode }: PageWorkParts,
    table: WorkTable,
    { isTrial }: { readonly isTrial: boolean },
  ) {
    this.#installation = installation;
    this.#database = database;
    this.#mode = mode;
    this.#table = table;
    this.#isTrial = isTrial;
  }

  /** @throws for keys out of reach or a remote format that fails; what is wrong with a row is a failure */
  async of(page: StoredPage): Promise<WorkedPage> {
    await this.#loadKeys(page);
    const { keys } = this.#installation;
    // Asks for the keys it encrypts with before it waits for anything.
    const [preparing, usedAhead] = keys.noting(() => this.#prepare(page));
    const readable = await preparing;
    const [{ failures, ...changed }, used] = keys.noting(() => this.#rows(page, readable));
    if (this.#isTrial) used.uncount();
    used.addAll(usedAhead);
    const last = lastKey(page) ?? [];
    return { rows: page.rows, last, changes: { page, used, ...changed }, failures };
  }

  #rows(page: StoredPage, readable: readonly PageColumn[]): WorkedRows {
    const cells = page.cells.map((column) => [...column]);
    const rows: number[] = [];
    const failures: RowFailure[] = [];
    for (let row = 0; row < page.rows; row++) {
      const failure = this.#row(page, row, readable, cells);
      if (failure !== undefined) failures.push(failure);
      else if (cells.some((column, i) => column[row] !== page.cells[i]?.[row])) rows.push(row);
    }
    return { rows, cells, failures };
  }

  async #loadKeys(page: StoredPage): Promise<void> {
    const { cells } = page;
    const prefixes = new KeyPrefixes();
    for (const { encrypted, stored } of this.#table.columns) {
      for (const content of cells[stored] ?? []) prefixes.add(encrypted, content);
    }
    await this.#installation.loadKeys(prefixes.found);
    await this.#installation.prepareAll();
    await this.#prepareScopes(page);
  }

  async #prepareScopes(page: StoredPage): Promise<void> {
    const scopes = new Map<string, Scope>();
    for (const column of this.#table.columns) {
      if (column.encrypted.scope === undefined) continue;
      for (let row = 0; row < page.rows; row++) {
        const scope = this.#scopeIfKnown(column, page, row);
        if (scope !== undefined) scopes.set(scopeSlot(scope), scope);
      }
    }
    const how = {
      index: this.#table.columns.some(({ tokens }) => tokens.length > 0),
      creates: !this.#isTrial,
    };
    await this.#installation.prepareScopes([...scopes.values()], how, undefined);
  }

  /** A row that is not of the scope of its value is reported when its turn comes. */
  #scopeIfKnown(column: ColumnWork, page: StoredPage, row: number): Scope | undefined {
    const stored = page.cells[column.stored]?.[row];
    if (stored === null || stored === undefined) return undefined;
    try {
      return this.#scopeOf(column, page, row);
    } catch (error) {
      if (error instanceof FieldEncryptionError) return undefined;
      throw error;
    }
  }

  /** Returns, for each column, the values to read instead of the stored ones. */
  #prepare({ cells }: StoredPage): Promise<PageColumn[]> {
    return Promise.all(
      this.#table.columns.map(({ encrypted, stored }) =>
        this.#mode.prepare(encrypted, cells[stored] ?? []),
      ),
    );
  }

  /** Puts the new cells of a row into `cells`, or returns what is wrong with one of them. */
  #row(
    page: StoredPage,
    row: number,
    readable: readonly PageColumn[],
    cells: readonly unknown[][],
  ): RowFailure | undefined {
    for (const [i, column] of this.#table.columns.entries()) {
      const code = this.#column(column, page, row, readable[i]?.[row], cells);
      if (code !== undefined) return this.#failure(column, keyAt(page, row), code);
    }
    return undefined;
  }

  #column(
    column: ColumnWork,
    page: StoredPage,
    row: number,
    prepared: unknown,
    cells: readonly unknown[][],
  ): RowFailureCode | undefined {
    const { encrypted, stored, tokens } = column;
    try {
      return withKnownRow(this.#knownRow(column, page, row), () => {
        const before = this.#fieldOf(column, page, row);
        const { context } = before;
        const readable = context === undefined ? prepared : new StoredInRow(prepared, context);
        const after = this.#mode.transform(encrypted, before, readable);
        put(cells[stored], row, after.stored);
        tokens.forEach(({ at }, i) => {
          put(cells[at], row, after.tokens[i]);
        });
        return this.#mode.check?.(encrypted, before, readable);
      });
    } catch (error) {
      if (error instanceof ErasedError) {
        const isLeft = this.#mode.writes !== 'nothing';
        const value = page.cells[stored]?.[row];
        return isLeft
          ? codeLeftBehind(this.#installation.keys, encrypted, value, error)
          : undefined;
      }
      if (error instanceof CommonKeyError) return 'COMMON_KEY';
      if (error instanceof NoScopeKeyError) {
        if (this.#mode.writes === 'nothing') return 'MISSING_INDEX_KEY';
        put(cells[stored], row, TO_BE_WRITTEN);
        return undefined;
      }
      if (!(error instanceof FieldEncryptionError)) throw error;
      // The KMS of one scope holds up the rows of no other.
      if (error.retryable && !isOwnKmsRefusal(error)) throw error;
      return tellOfFailure(this.#installation.dataSource, 'decrypt', error, encrypted.policy).code;
    }
  }

  #fieldOf(column: ColumnWork, page: StoredPage, row: number): StoredField {
    const { encrypted, bound, stored: at, tokens } = column;
    const cell = (position: number | undefined): unknown => page.cells[position ?? -1]?.[row];
    const stored = cell(at);
    const isEmpty = stored === null || stored === undefined;
    return {
      stored,
      tokens: tokens.map((token) => cell(token.at)),
      context: isEmpty
        ? undefined
        : encrypted.binding?.contextOf((i) => cell(bound[i]), this.#scopeOf(column, page, row)?.id),
    };
  }

  /** Returns the scope of a row, by its column or else by the key of its value. Throws why that cannot be had. */
  #scopeOf({ encrypted, ...column }: ColumnWork, page: StoredPage, row: number): Scope | undefined {
    const { scope } = encrypted;
    if (scope === undefined) return undefined;
    const { keys } = this.#installation;
    const stored = page.cells[column.stored]?.[row];
    const ofKey = scopeOfValue(keys, encrypted, stored);
    const id = scope.ofRead(rowOf(encrypted, column.bound, page, row), ofKey);
    const prefix = id === undefined ? keyPrefixOf(encrypted, stored) : undefined;
    if (prefix !== undefined) keys.keyByPrefix(prefix);
    return id === undefined ? undefined : { kind: scope.kind, id };
  }

  #knownRow(column: ColumnWork, page: StoredPage, row: number): KnownRow {
    return {
      ...rowOf(column.encrypted, column.bound, page, row),
      scopeId: () => this.#scopeOf(column, page, row)?.id,
    };
  }

  #failure({ encrypted }: ColumnWork, key: RowKey, code: RowFailureCode): RowFailure {
    const { entity, property } = encrypted.policy;
    return { entity, property, primaryKey: this.#database.reportedKey(this.#table, key), code };
  }
}

/** Returns the columns of a row that its values are bound to. */
function rowOf(
  { binding }: EncryptedColumn,
  bound: readonly number[],
  { cells }: StoredPage,
  row: number,
): KnownRow {
  return {
    value: (column) => cells[bound[binding?.columns.indexOf(column) ?? -1] ?? -1]?.[row],
  };
}

function put(column: unknown[] | undefined, row: number, content: unknown): void {
  if (column !== undefined) column[row] = content;
}
