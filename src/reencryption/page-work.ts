import { FieldEncryptionError } from '../errors';
import type { Installation } from '../typeorm/installation';
import { KeyPrefixes } from '../typeorm/key-prefixes';
import type { RowChange, RowKey, StoredRow } from './database/row';
import type { RunDatabase } from './database/run-database';
import type { Cells, Mode } from './modes/mode';
import type { RowFailure, RowFailureCode } from './run-report';
import type { ColumnWork, WorkTable } from './work-table';

/** What a page comes to. */
export interface WorkedPage {
  readonly rows: number;
  readonly last: RowKey;
  readonly changes: readonly RowChange[];
  readonly failures: readonly RowFailure[];
}

/** Turns the rows of a page into what they should be. */
export class PageWork {
  readonly #installation: Installation;
  readonly #database: RunDatabase;
  readonly #mode: Mode;
  readonly #table: WorkTable;

  constructor(installation: Installation, database: RunDatabase, mode: Mode, table: WorkTable) {
    this.#installation = installation;
    this.#database = database;
    this.#mode = mode;
    this.#table = table;
  }

  /** @throws what is no fault of a row: keys out of reach, a remote format that fails as a whole. */
  async of(rows: readonly StoredRow[]): Promise<WorkedPage> {
    await this.#loadKeys(rows);
    const readable = await this.#prepare(rows);
    const changes: RowChange[] = [];
    const failures: RowFailure[] = [];
    for (const [at, row] of rows.entries()) {
      const change = this.#row(row, at, readable, failures);
      if (change !== undefined) changes.push(change);
    }
    return { rows: rows.length, last: rows.at(-1)?.key ?? [], changes, failures };
  }

  async #loadKeys(rows: readonly StoredRow[]): Promise<void> {
    const prefixes = new KeyPrefixes();
    for (const { cells } of rows) {
      for (const { encrypted, stored } of this.#table.columns) {
        prefixes.add(encrypted, cells[stored]);
      }
    }
    await this.#installation.loadKeys(prefixes.found);
    await this.#installation.prepareAll();
  }

  /** For each column what stands in the place of its stored values. */
  #prepare(rows: readonly StoredRow[]): Promise<(readonly unknown[])[]> {
    return Promise.all(
      this.#table.columns.map(({ encrypted, stored }) =>
        this.#mode.prepare(
          encrypted,
          rows.map(({ cells }) => cells[stored]),
        ),
      ),
    );
  }

  /** `undefined` for a row that stays as it is. */
  #row(
    row: StoredRow,
    at: number,
    readable: readonly (readonly unknown[])[],
    failures: RowFailure[],
  ): RowChange | undefined {
    const cells = [...row.cells];
    for (const [i, column] of this.#table.columns.entries()) {
      const before = cellsOf(column, row);
      const code = this.#column(column, before, readable[i]?.[at], cells);
      if (code === undefined) continue;
      failures.push(this.#failure(column, row, code));
      return undefined;
    }
    return cells.every((cell, i) => cell === row.cells[i]) ? undefined : { row, cells };
  }

  /** Puts the cells of a column as they should be into `cells`, or says what is wrong. */
  #column(
    { encrypted, stored, tokens }: ColumnWork,
    before: Cells,
    readable: unknown,
    cells: unknown[],
  ): RowFailureCode | undefined {
    try {
      const after = this.#mode.transform(encrypted, before, readable);
      cells[stored] = after.stored;
      tokens.forEach(({ at }, i) => {
        cells[at] = after.tokens[i];
      });
      return this.#mode.check?.(encrypted, before, readable);
    } catch (error) {
      if (!(error instanceof FieldEncryptionError) || error.retryable) throw error;
      return error.code;
    }
  }

  #failure({ encrypted }: ColumnWork, { key }: StoredRow, code: RowFailureCode): RowFailure {
    const { entity, property } = encrypted.policy;
    return { entity, property, primaryKey: this.#database.reportedKey(this.#table, key), code };
  }
}

function cellsOf({ stored, tokens }: ColumnWork, { cells }: StoredRow): Cells {
  return { stored: cells[stored], tokens: tokens.map(({ at }) => cells[at]) };
}
