import { boundarySql, countSql, holderSql, keyOf, pageOf, pageSql } from './page-sql';
import type { PageDialect, PageStatement, RawRow } from './page-sql';
import type { PageRequest, RowKey, StoredPage, WantedToken } from './row';
import type { RunDatabase } from './run-database';
import type { WorkTable } from './work-table';

/** The reading of pages, which takes one statement each in every database. */
export abstract class PageReads implements Pick<
  RunDatabase,
  'count' | 'readPage' | 'boundary' | 'holderOf'
> {
  readonly #dialect: PageDialect;

  constructor(dialect: PageDialect) {
    this.#dialect = dialect;
  }

  /** Sends a statement over all rows of a table. */
  protected abstract rows(table: WorkTable, statement: PageStatement): Promise<RawRow[]>;

  async count(table: WorkTable, condition: string): Promise<readonly [number, number]> {
    const [row] = await this.rows(table, countSql(this.#dialect, table, condition));
    return [Number(row?.['total'] ?? 0), Number(row?.['pending'] ?? 0)];
  }

  async readPage(table: WorkTable, request: PageRequest): Promise<StoredPage> {
    const rows = await this.rows(table, pageSql(this.#dialect, table, request));
    return pageOf(this.#dialect, table, rows);
  }

  async boundary(table: WorkTable, request: PageRequest): Promise<RowKey | undefined> {
    const [row] = await this.rows(table, boundarySql(this.#dialect, table, request));
    return row === undefined ? undefined : keyOf(table, row);
  }

  async holderOf(table: WorkTable, token: WantedToken): Promise<RowKey | undefined> {
    const [row] = await this.rows(table, holderSql(this.#dialect, table, token));
    return row === undefined ? undefined : keyOf(table, row);
  }
}
