/** A statement with its parameters. */
export interface Statement {
  readonly sql: string;
  readonly values: readonly unknown[];
}

/** Rows that the two statements of {@link SqliteHandle.write} changed. */
interface Written {
  readonly written: number;
  readonly renewed: number;
}

/** What a run asks of either SQLite driver. */
export interface SqliteHandle {
  all(sql: string, values: readonly unknown[]): Promise<Record<string, unknown>[]>;
  /**
   * Runs `page`, then what follows from the number of rows it changed. With better-sqlite3 this is
   * one transaction, which nothing of the application's can come in between. The sqlite3 driver
   * shares its one connection with whoever else has statements under way, so there each is its own.
   */
  write(page: Statement | undefined, then: (written: number) => Statement): Promise<Written>;
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
  const run = ({ sql, values }: Statement): number => database.prepare(sql).run(...values).changes;
  return {
    all: (sql, values) => Promise.resolve(database.prepare(sql).all(...values)),
    write: (page, then) =>
      Promise.resolve(
        database
          .transaction(() => {
            const written = page === undefined ? 0 : run(page);
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
      const written = page === undefined ? 0 : await run(page);
      return { written, renewed: await run(then(written)) };
    },
  };
}
