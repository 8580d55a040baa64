import { conflicts, isUniqueViolation } from '../../typeorm/connection/transient-conflict';
import type { Lease, PageChange, RowKey } from '../database/row';
import { keyAt } from '../database/row';
import type { RunDatabase } from '../database/run-database';
import type { RowFailure } from '../report/run-report';
import type { WorkTable } from '../database/work-table';

/** What writing a page came to. */
export interface WrittenPage {
  readonly written: number;
  /** Rows that were not as they had been read. */
  readonly lost: number;
  /** Rows whose value another row of a unique index has. */
  readonly failures: readonly RowFailure[];
}

/**
 * Writes pages. What a unique index refuses is narrowed down to its rows, by halves, so that the rest
 * of the page is written.
 */
export class PageWriter {
  readonly #database: RunDatabase;
  readonly #table: WorkTable;

  constructor(database: RunDatabase, table: WorkTable) {
    this.#database = database;
    this.#table = table;
  }

  /** @returns `undefined` when the lease was lost; what was not written by then is not. */
  async write(change: PageChange, lease: Lease, cursor: RowKey): Promise<WrittenPage | undefined> {
    try {
      const written = await this.#attempt(change, lease, cursor);
      if (written === undefined) return undefined;
      return { written, lost: change.rows.length - written, failures: [] };
    } catch (error) {
      if (!isUniqueViolation(error)) throw error;
    }
    const parts = await this.#halves(change, lease);
    if (parts === undefined) return undefined;
    // The checkpoint moves last: until then the page is under way.
    return (await this.#attempt(part(change, 0, 0), lease, cursor)) === undefined
      ? undefined
      : parts;
  }

  async #halves(change: PageChange, lease: Lease): Promise<WrittenPage | undefined> {
    const { length } = change.rows;
    const [only] = change.rows;
    if (length === 1 && only !== undefined) {
      return { written: 0, lost: 0, failures: await this.#duplicates(change, only) };
    }
    const middle = Math.ceil(length / 2);
    const first = await this.#part(part(change, 0, middle), lease);
    const second = first && (await this.#part(part(change, middle, length), lease));
    return (
      first &&
      second && {
        written: first.written + second.written,
        lost: first.lost + second.lost,
        failures: [...first.failures, ...second.failures],
      }
    );
  }

  async #part(change: PageChange, lease: Lease): Promise<WrittenPage | undefined> {
    try {
      const written = await this.#attempt(change, lease, undefined);
      return written === undefined
        ? undefined
        : { written, lost: change.rows.length - written, failures: [] };
    } catch (error) {
      if (!isUniqueViolation(error)) throw error;
      return this.#halves(change, lease);
    }
  }

  #attempt(
    change: PageChange,
    lease: Lease,
    cursor: RowKey | undefined,
  ): Promise<number | undefined> {
    return conflicts.execute(() => this.#database.writePage(this.#table, change, lease, cursor));
  }

  /** Which of its unique tokens a row cannot have, and who has them. */
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

/** Some of the rows. */
function part(change: PageChange, from: number, to: number): PageChange {
  return { ...change, rows: change.rows.slice(from, to) };
}
