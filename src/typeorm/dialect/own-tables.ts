import type { QueryRunner, Table, TableColumn } from 'typeorm';

/** What keeps rows of a table from being there twice. */
export interface TableGuards {
  readonly primary: readonly string[];
  readonly unique: readonly UniqueIndex[];
}

/** A unique index, perhaps over some of the rows only. */
interface UniqueIndex {
  readonly columns: readonly string[];
  readonly isPartial: boolean;
}

/**
 * The library's own tables in a database where TypeORM's schema builder cannot make them, as it knows no indexes
 * over some of the rows there.
 */
export interface OwnTables {
  /** Returns the statement that creates a table. */
  create(table: Table): string;
  /** Returns the statement that adds a column to one. */
  addColumn(tablePath: string, column: TableColumn): string;
  /** Fetches what guards a table; `undefined` if it does not exist. */
  guards(runner: QueryRunner, tablePath: string): Promise<TableGuards | undefined>;
}
