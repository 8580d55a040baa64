import type { PageStatement, RawRow } from '../page-sql';

/** A page to write, in the two forms that suit the drivers. */
export interface PageStatements {
  /** Selects a row as long as the page may be written. */
  readonly guard: PageStatement;
  /** Writes one row at a time, with values made as they are needed. */
  readonly row: {
    readonly sql: string;
    readonly rows: readonly number[];
    readonly values: (row: number) => readonly unknown[];
  };
  /** Writes all rows, if the guard selects something. */
  whole(): PageStatement;
}

/** How many rows the page changed, and the statement after it. */
interface Written {
  readonly written: number;
  readonly renewed: number;
}

/** The operations that a run needs of either SQLite driver. */
export interface SqliteHandle {
  all(statement: PageStatement): Promise<RawRow[]>;
  /**
   * Writes a page, then the statement that `then` makes of the number of rows changed. With
   * better-sqlite3 this is one transaction, row by row, which is fastest, and no statement of the
   * application can come in between. The sqlite3 driver shares its one connection with everything
   * else under way, so there the page is a single statement and `then` another.
   */
  write(
    page: PageStatements | undefined,
    then: (written: number) => PageStatement,
  ): Promise<Written>;
}

/** The part of better-sqlite3 that is used. */
interface BetterSqlite3 {
  prepare(sql: string): {
    all(...values: readonly unknown[]): Record<string, unknown>[];
    run(...values: readonly unknown[]): { changes: number };
  };
  transaction<T>(work: () => T): { immediate(): T };
}

/** The part of sqlite3 that is used. */
interface Sqlite3 {
  all(
    sql: string,
    values: readonly unknown[],
    done: (error: Error | null, rows: Record<string, unknown>[]) => void,
  ): void;
  run(
    sql: string,
    values: readonly unknown[],
    done: (this: { changes: number }, error: Error | null) => void,
  ): void;
}

/** The connection that TypeORM's `connect()` returns. */
export type SqliteConnection = BetterSqlite3 | Sqlite3;

export function sqliteHandle(connection: SqliteConnection): SqliteHandle {
  return 'transaction' in connection ? synchronous(connection) : callback(connection);
}

function synchronous(database: BetterSqlite3): SqliteHandle {
  const all = ({ sql, values }: PageStatement): Record<string, unknown>[] =>
    database.prepare(sql).all(...values);
  const run = ({ sql, values }: PageStatement): number =>
    database.prepare(sql).run(...values).changes;
  const writeRows = ({ guard, row }: PageStatements): number => {
    if (all(guard).length === 0) return 0;
    const statement = database.prepare(row.sql);
    return row.rows.reduce((written, at) => written + statement.run(...row.values(at)).changes, 0);
  };
  return {
    all: (statement) => Promise.resolve(all(statement)),
    write: (page, then) =>
      Promise.resolve(
        database
          .transaction(() => {
            const written = page === undefined ? 0 : writeRows(page);
            return { written, renewed: run(then(written)) };
          })
          .immediate(),
      ),
  };
}

function callback(database: Sqlite3): SqliteHandle {
  const run = ({ sql, values }: PageStatement): Promise<number> =>
    new Promise((resolve, reject) => {
      database.run(sql, values, function (error) {
        if (error === null) resolve(this.changes);
        else reject(error);
      });
    });
  return {
    all: ({ sql, values }) =>
      new Promise((resolve, reject) => {
        database.all(sql, values, (error, rows) => {
          if (error === null) resolve(rows);
          else reject(error);
        });
      }),
    write: async (page, then) => {
      const written = page === undefined ? 0 : await run(page.whole());
      return { written, renewed: await run(then(written)) };
    },
  };
}
