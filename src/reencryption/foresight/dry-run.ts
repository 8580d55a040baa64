import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { dialectOf } from '../../typeorm/dialect/dialect-of';
import { keyAt } from '../database/row';
import type { StoredPage } from '../database/row';
import type { WorkCell, WorkTable } from '../database/work-table';
import type { TableWork } from '../plan/work-plan';
import type { RowFailure } from '../report/run-report';
import { readPages } from '../walk/read-pages';
import type { ReadPage } from '../walk/read-pages';
import type { RunContext } from '../walk/run-context';

import { findDuplicates } from './duplicates';
import type { Claim, Duplicate } from './duplicates';

/** A unique index whose tokens the run makes, and the positions of its cells in a row. */
interface UniqueTokens {
  readonly entity: string;
  readonly property: string;
  readonly token: number;
  /** The other columns of the index, as text. */
  readonly among: readonly number[];
}

/** A run over a table that reads what it would read, and writes nothing. */
export class DryRun {
  readonly #context: RunContext;
  readonly #work: TableWork;
  readonly #table: WorkTable;
  readonly #unique: readonly UniqueTokens[];
  /** Position of the cell that says whether the run would read the row; undefined if it would read all. */
  readonly #pending: number | undefined;
  #isCounted = false;

  constructor(context: RunContext, work: TableWork) {
    this.#context = context;
    this.#work = work;
    const cells = [...work.table.cells];
    this.#unique = makesTokens(context) ? uniqueTokens(work.table, cells) : [];
    const isPending = work.pending !== undefined && this.#unique.length > 0;
    this.#pending = isPending ? addPending(work, cells) : undefined;
    this.#table = { ...work.table, cells };
  }

  /** Counts what the run would do, and the rows that it could not. */
  async run(): Promise<void> {
    const { counts } = this.#context;
    const isUnique = this.#unique.length > 0;
    if (isUnique) await this.#foreseeDuplicates();
    else for await (const page of this.#pages()) this.#count(page);
    counts.endTable();
  }

  async #foreseeDuplicates(): Promise<void> {
    const { database, counts, options } = this.#context;
    const [rows] = await database.count(this.#table, 'TRUE');
    const read = this.#claims.bind(this);
    const { count, listed } = await findDuplicates(rows * this.#unique.length, read);
    if (options.signal?.aborted ?? false) return;
    counts.refused(
      count,
      listed.map((duplicate) => this.#failure(duplicate)),
    );
  }

  /** Reads the tokens that rows would have afterwards. Counts the rows the first time. */
  async *#claims(): AsyncGenerator<readonly Claim[]> {
    const isFirst = !this.#isCounted;
    for await (const page of this.#pages()) {
      if (isFirst) this.#count(page);
      yield this.#claimsOf(page);
    }
    this.#isCounted = true;
  }

  /** All rows where tokens have to be compared, of which others have theirs already. */
  #pages(): AsyncGenerator<ReadPage> {
    const condition = this.#unique.length > 0 ? '' : (this.#work.pending ?? '');
    return readPages(this.#context, this.#table, condition);
  }

  #claimsOf({ stored, worked: { changes } }: ReadPage): Claim[] {
    const changed = new Set(changes.rows);
    const claims: Claim[] = [];
    for (let row = 0; row < stored.rows; row++) {
      const after = changed.has(row) ? changes.cells : stored.cells;
      for (const [index, { token, among }] of this.#unique.entries()) {
        const contents = [token, ...among].map((at) => after[at]?.[row]);
        // The database takes NULL for different from everything.
        if (contents.some((content) => content === null || content === undefined)) continue;
        const held = stored.cells[token]?.[row] === contents[0];
        claims.push({ index, content: JSON.stringify(contents), key: keyAt(stored, row), held });
      }
    }
    return claims;
  }

  #count({ stored, worked }: ReadPage): void {
    const { counts, options } = this.#context;
    const rows = worked.changes.rows.filter((row) => this.#isPending(stored, row));
    const failures = this.#failuresOf(stored, worked.failures);
    const read = this.#pendingRows(stored);
    counts.done({ rows: read, changes: { rows }, failures }, rows.length);
    options.onProgress?.(counts.progress(this.#table.metadata.name));
  }

  #isPending({ cells }: StoredPage, row: number): boolean {
    return this.#pending === undefined || Number(cells[this.#pending]?.[row]) === 1;
  }

  #pendingRows(stored: StoredPage): number {
    let rows = 0;
    for (let row = 0; row < stored.rows; row++) if (this.#isPending(stored, row)) rows += 1;
    return rows;
  }

  /** Leaves out those of rows that the run would not read. */
  #failuresOf(stored: StoredPage, failures: readonly RowFailure[]): readonly RowFailure[] {
    if (failures.length === 0 || this.#pending === undefined) return failures;
    const unread = new Set<string>();
    for (let row = 0; row < stored.rows; row++) {
      if (!this.#isPending(stored, row))
        unread.add(JSON.stringify(this.#reported(keyAt(stored, row))));
    }
    return failures.filter(({ primaryKey }) => !unread.has(JSON.stringify(primaryKey)));
  }

  #failure({ index, key, holder }: Duplicate): RowFailure {
    const { entity = '', property = '' } = this.#unique[index] ?? {};
    return {
      ...{ entity, property, code: 'DUPLICATE_TOKEN' },
      primaryKey: this.#reported(key),
      conflictsWith: this.#reported(holder),
    };
  }

  #reported(key: readonly unknown[]): readonly unknown[] {
    return this.#context.database.reportedKey(this.#table, key);
  }
}

function makesTokens({ mode: { name } }: RunContext): boolean {
  return name === 'encrypt' || name === 'reindex';
}

/** Adds the other columns of unique indexes to the cells that are read. */
function uniqueTokens({ columns }: WorkTable, cells: WorkCell[]): UniqueTokens[] {
  return columns.flatMap(({ encrypted, tokens }) =>
    tokens
      .filter(({ indexed }) => indexed.policy.unique)
      .map(({ indexed, at }) => {
        const { entity, property } = encrypted.policy;
        const among = indexed.uniqueWith.map((column) => addCell(cells, column, textOf(column)));
        return { entity, property, token: at, among };
      }),
  );
}

/** As text: JavaScript's dates and numbers hold less than some columns. */
function textOf({ databaseName, entityMetadata }: ColumnMetadata): string {
  const { connection } = entityMetadata;
  return dialectOf(connection).sql.cast(connection.driver.escape(databaseName), 'text');
}

function addPending({ table, pending = 'TRUE' }: TableWork, cells: WorkCell[]): number | undefined {
  const column = table.columns[0]?.encrypted.column;
  return column && addCell(cells, column, `CASE WHEN ${pending} THEN 1 ELSE 0 END`);
}

/** Adds SQL to the cells that are read, and returns its position. */
function addCell(cells: WorkCell[], column: ColumnMetadata, name: string): number {
  return cells.push({ column, name, type: 'text', written: false }) - 1;
}
