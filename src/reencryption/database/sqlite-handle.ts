/** A statement with its parameters. */
export interface Statement {
  readonly sql: string;
  readonly values: readonly unknown[];
}

/** A page that is to be written, in the two forms that suit the drivers. */
export interface PageStatements {
  /** Selects something while the page may be written. */
  readonly guard: Statement;
  /** Writes one row at a time; the values are made as they are needed, not for the page at once. */
  readonly row: {
    readonly sql: string;
    readonly rows: readonly number[];
    readonly values: (row: number) => readonly unknown[];
  };
  /** Writes all rows, while the guard holds. */
  whole(): Statement;
}

/** Rows that the page and what follows it changed. */
interface Written {
  readonly written: number;
  readonly renewed: number;
}

/** What a run asks of either SQLite driver. */
export interface SqliteHandle {
  all(sql: string, values: readonly unknown[]): Promise<Record<string, unknown>[]>;
  /**
   * Writes a page, then what follows from the number of rows it changed. With better-sqlite3 this is
   * one transaction, which nothing of the application's can come in between, and row by row, which is
   * fastest. The sqlite3 driver shares its one connection with everything else that has statements under way,
   * so there each is its own, and the page is one.
   */
  write(page: PageStatements | undefined, then: (written: number) => Statement): Promise<Written>;
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

/** What TypeORM's `connect()` gives with either driver. */
export type SqliteConnection = BetterSqlite3 | Sqlite3;

export function sqliteHandle(connection: SqliteConnection): SqliteHandle {
  return 'transaction' in connection ? synchronous(connection) : callback(connection);
}

function synchronous(database: BetterSqlite3): SqliteHandle {
  const all = ({ sql, values }: Statement): Record<string, unknown>[] =>
    database.prepare(sql).all(...values);
  const run = ({ sql, values }: Statement): number => database.prepare(sql).run(...values).changes;
  const writeRows = ({ guard, row }: PageStatements): number => {
    if (all(guard).length === 0) return 0;
    const statement = database.prepare(row.sql);
    return row.rows.reduce((written, at) => written + statement.run(...row.values(at)).changes, 0);
  };
  return {
    all: (sql, values) => Promise.resolve(all({ sql, values })),
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
  const run = ({ sql, values }: Statement): Promise<number> =>
    new Promise((resolve, reject) => {
      database.run(sql, values, function (error) {
        if (error === null) resolve(this.changes);
        else reject(error);
      });
    });
  return {
    all: (sql, values) =>
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
