import type { SqlForms } from './sql-forms';

/** The port for what differs between databases: each is one folder beside this file. */
export interface Dialect {
  readonly name: DialectName;
  /** Its name for people. */
  readonly title: string;
  readonly sql: SqlForms;
}

/** The databases that there is a dialect of. */
export type DialectName = 'postgres' | 'sqlite';
