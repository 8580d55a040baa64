import type { DataSource } from 'typeorm';

/** Which names of tables and columns a database takes for one. */
export interface NameRules {
  /** Returns a text that is the same for all names of one table; `qualifier` is the schema or file. */
  tablePlace(dataSource: DataSource, table: string, qualifier: string | undefined): string;
  /** Returns a text that is the same for all names of one column of a table. */
  columnPlace(column: string): string;
}
