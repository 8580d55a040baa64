import { conflicts, databaseFailure } from '../../typeorm/connection/transient-conflict';
import { keyAt } from '../database/row';
import type { Lease, PageChange, RowKey } from '../database/row';
import type { RunDatabase } from '../database/run-database';
import type { WorkTable } from '../database/work-table';
import type { RowFailure } from '../report/run-report';

/** The outcome of writing a page. */
export interface WrittenPage {
  readonly written: number;
  /** Rows that had changed since they were read. */
  readonly lost: number;
  /** Rows whose value another row of a unique index already has, or that are too long for a statement. */
  readonly failures: readonly RowFailure[];
}

/** Why rows are refused that others of their page do not hold up. */
type Refusal = 'notUnique' | 'tooLarge';

/**
 * A writer of pages. When a unique index refuses a page, or a row is too long, it finds the offending rows by halving
 * the page, and writes the rest.
 */
export class PageWriter {
  readonly #database: RunDatabase;
  readonly #table: WorkTable;

  constructor(database: RunDatabase, table: WorkTable) {
    this.#database = database;
    this.#table = table;
  }

  /** @returns `undefined` when the lease was lost, and with it what was not written by then. */
  async write(change: PageChange, lease: Lease, cursor: RowKey): Promise<WrittenPage | undefined> {
    const whole = await this.#writeWhole(change, lease, cursor);
    if (typeof whole !== 'string') return whole;
    const parts = await this.#writeHalves(change, lease, whole);
    if (parts === undefined) return undefined;
    // The checkpoint moves last: until then the page is not done.
    const moved = await this.#attempt(part(change, 0, 0), lease, cursor);
    return moved === undefined ? undefined : parts;
  }

  async #writeHalves(
    change: PageChange,
    lease: Lease,
    refusal: Refusal,
  ): Promise<WrittenPage | undefined> {
    const { length } = change.rows;
    const [only] = change.rows;
    if (length === 1 && only !== undefined) {
      const failures =
        refusal === 'tooLarge'
          ? this.#tooLarge(change, only)
          : await this.#duplicates(change, only);
      return { written: 0, lost: 0, failures };
    }
    const middle = Math.ceil(length / 2);
    const first = await this.#writePart(part(change, 0, middle), lease);
    const second = first && (await this.#writePart(part(change, middle, length), lease));
    return (
      first &&
      second && {
        written: first.written + second.written,
        lost: first.lost + second.lost,
        failures: [...first.failures, ...second.failures],
      }
    );
  }

  async #writePart(change: PageChange, lease: Lease): Promise<WrittenPage | undefined> {
    const whole = await this.#writeWhole(change, lease, undefined);
    return typeof whole === 'string' ? this.#writeHalves(change, lease, whole) : whole;
  }

  /** Writes all rows or, if one of them is refused, none. */
  async #writeWhole(
    change: PageChange,
    lease: Lease,
    cursor: RowKey | undefined,
  ): Promise<WrittenPage | Refusal | undefined> {
    try {
      const written = await this.#attempt(change, lease, cursor);
      if (written === undefined) return undefined;
      return { written, lost: change.rows.length - written, failures: [] };
    } catch (error) {
      const failure = databaseFailure(error);
      if (failure === 'notUnique' || failure === 'tooLarge') return failure;
      throw error;
    }
  }

  #attempt(
    change: PageChange,
    lease: Lease,
    cursor: RowKey | undefined,
  ): Promise<number | undefined> {
    return conflicts.execute(() => this.#database.writePage(this.#table, change, lease, cursor));
  }

  /** Names the longest of the new values of a row, which no statement can write. */
  #tooLarge({ page, cells }: PageChange, row: number): RowFailure[] {
    const primaryKey = this.#database.reportedKey(this.#table, keyAt(page, row));
    const length = (at: number): number =>
      cells[at]?.[row] === page.cells[at]?.[row] ? 0 : lengthOf(cells[at]?.[row]);
    const [longest] = [...this.#table.columns].sort((a, b) => length(b.stored) - length(a.stored));
    if (longest === undefined) return [];
    const { entity, property } = longest.encrypted.policy;
    return [{ entity, property, primaryKey, code: 'ERR_UNSUPPORTED_VALUE' }];
  }

  /** Finds which of its unique tokens a row cannot have, and which row has them. */
  async #duplicates({ page, cells }: PageChange, row: number): Promise<RowFailure[]> {
    const failures: RowFailure[] = [];
    for (const { encrypted, tokens } of this.#table.columns) {
      for (const { indexed, at } of tokens) {
        const token = cells[at]?.[row];
        if (!indexed.policy.unique || token === page.cells[at]?.[row]) continue;
        const { driver } = this.#table.metadata.connection;
        const holder = await this.#database.holderOf(this.#table, {
          cell: at,
          content: token,
          among: indexed.uniqueWith.map(({ databaseName }) => driver.escape(databaseName)),
          wantedBy: keyAt(page, row),
        });
        if (holder === undefined) continue;
        const { entity, property } = encrypted.policy;
        failures.push({
          entity,
          property,
          primaryKey: this.#database.reportedKey(this.#table, keyAt(page, row)),
          code: 'DUPLICATE_TOKEN',
          conflictsWith: this.#database.reportedKey(this.#table, holder),
        });
      }
    }
    return failures;
  }
}

function part(change: PageChange, from: number, to: number): PageChange {
  return { ...change, rows: change.rows.slice(from, to) };
}

function lengthOf(cell: unknown): number {
  return typeof cell === 'string' || Buffer.isBuffer(cell) ? cell.length : 0;
}
