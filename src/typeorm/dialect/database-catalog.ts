import type { DataSource, EntityMetadata, QueryRunner, Table } from 'typeorm';

/** A view in the database. */
export interface DatabaseView {
  readonly name: string;
  /** The name for SQL: escaped, with its schema. */
  readonly path: string;
  /** The SELECT, as the database writes it: with all columns named. */
  readonly definition: string;
}

/** A column as it is in the database. */
export interface StoredColumn {
  readonly name: string;
  /** `null` where the database does not hold values to the type. */
  readonly type: string | null;
  /** The most characters that it holds; `null` for no limit. */
  readonly length: number | null;
  /** Whether values are equal only if their bytes are. */
  readonly exact: boolean;
}

/** An index of the database that begins with the column that was asked for. */
export interface DatabaseIndex {
  readonly unique: boolean;
  /** Whether it covers all rows and is valid. */
  readonly whole: boolean;
  /** `null` for an expression. */
  readonly columns: readonly (string | null)[];
}

/** Rights of a role on a table. */
export const RIGHTS = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'] as const;
export type Right = (typeof RIGHTS)[number];

/** Settings by which the server logs statements with their parameters. */
export interface StatementLog {
  readonly settings: string;
  /** How to keep parameters out. */
  readonly remedy: string;
}

/** A text column of any table. */
export interface TextColumn {
  /** The schema, database or attached file. */
  readonly schema: string;
  readonly table: string;
  readonly column: string;
  /** Whether the role may read it. */
  readonly readable: boolean;
}

/** What a database tells about itself. */
export interface DatabaseCatalog {
  /** Selects the version of the server as `version`. */
  readonly versionSql: string;
  /** Fetches the text columns of all tables that are seen from the connection, but those of the server itself. */
  textColumns(runner: QueryRunner): Promise<TextColumn[]>;
  hasTable(runner: QueryRunner, tablePath: string): Promise<boolean>;
  hasColumn(runner: QueryRunner, tablePath: string, column: string): Promise<boolean>;
  /**
   * Whether a table exists.
   *
   * @throws {@link ConfigurationError} for a table that exists, but that the role may not read or TypeORM does
   * not see
   */
  tableExists(runner: QueryRunner, tablePath: string): Promise<boolean>;
  /**
   * Fetches a table as the database has it; `undefined` if it does not exist yet.
   *
   * @throws {@link ConfigurationError} if TypeORM takes another one for it
   */
  liveTable(runner: QueryRunner, metadata: EntityMetadata): Promise<Table | undefined>;
  /** Whether a table is no view or the like; `true` if it does not exist. */
  isTable(runner: QueryRunner, metadata: EntityMetadata): Promise<boolean>;
  /** Fetches the views over some tables, and over these views, as far as they can be written. */
  views(
    dataSource: DataSource,
    tables: readonly EntityMetadata[],
  ): Promise<readonly DatabaseView[]>;
  /** Fetches the columns of a table; none if it does not exist. */
  columns(runner: QueryRunner, metadata: EntityMetadata): Promise<StoredColumn[]>;
  /** Fetches the indexes that begin with a column. */
  indexes(runner: QueryRunner, metadata: EntityMetadata, column: string): Promise<DatabaseIndex[]>;
  /** Whether a SELECT looks up its rows by indexes only. */
  usesIndex(runner: QueryRunner, sql: string): Promise<boolean>;
  /** Whether roles are granted rights. */
  readonly hasRoles: boolean;
  /** Fetches the rights of the role on a table, all where there are no roles; `undefined` if it does not exist. */
  rights(runner: QueryRunner, metadata: EntityMetadata): Promise<ReadonlySet<Right> | undefined>;
  /** Whether the role may read columns of a table; `false` if there is none of them. */
  mayRead(
    runner: QueryRunner,
    metadata: EntityMetadata,
    columns: readonly string[],
  ): Promise<boolean>;
  /** Fetches how the server logs statements, if it logs their parameters; left out if there is no such log. */
  statementLog?(runner: QueryRunner): Promise<StatementLog | undefined>;
}
