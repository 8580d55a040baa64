import type { PageStatement, RawRow } from '../page-sql';

type Options = Readonly<Record<string, unknown>> & { readonly sql: string };
type Callback = (error: Error | null, result: unknown) => void;

/** The part of a connection of `mysql2` that is used. */
export interface MysqlConnection {
  query(options: Options, done: Callback): void;
  execute(options: Options, done: Callback): void;
  destroy(): void;
}

/** Takes precedence over what the application gives its DataSource: no digit is lost, and no value in no zone. */
const EXACT = {
  dateStrings: true,
  decimalNumbers: false,
  supportBigNumbers: true,
  namedPlaceholders: false,
  nestTables: false,
  rowsAsArray: false,
  typeCast: true,
};

/** A connection that nobody else uses. */
export class MysqlClient {
  readonly #connection: MysqlConnection;

  constructor(connection: MysqlConnection) {
    this.#connection = connection;
  }

  /** Selects rows. Their values stay apart from the text of the statement. */
  rows({ sql, values }: PageStatement): Promise<RawRow[]> {
    return this.#send('execute', { ...EXACT, sql, values }) as Promise<RawRow[]>;
  }

  /** @returns how many rows were changed */
  async change(statement: PageStatement): Promise<number> {
    const result = await this.#send('execute', { ...statement });
    return (result as { readonly affectedRows: number }).affectedRows;
  }

  /**
   * Sends a statement without parameters, which the server does not keep for later.
   *
   * @returns how many rows were changed, if it changes any
   */
  async send(sql: string): Promise<number> {
    const result = await this.#send('query', { sql });
    return (result as { readonly affectedRows: number }).affectedRows;
  }

  /** Works in a transaction that sees what others have committed, and that ends before the connection is given back. */
  async inTransaction<T>(work: () => Promise<T>): Promise<T> {
    await this.send('SET TRANSACTION ISOLATION LEVEL READ COMMITTED');
    await this.send('START TRANSACTION');
    try {
      const result = await work();
      await this.send('COMMIT');
      return result;
    } catch (error) {
      // Also after an error that undoes its statement alone, such as that of a lock.
      await this.#putBack('ROLLBACK');
      throw error;
    }
  }

  /** Works with another setting of the session. `sql` is its value. */
  async withSetting<T>(name: string, sql: string, work: () => Promise<T>): Promise<T> {
    const setting = `@@SESSION.${name}`;
    const [row] = await this.rows({ sql: `SELECT ${setting} AS before_it`, values: [] });
    await this.send(`SET ${setting} = ${sql}`);
    try {
      return await work();
    } finally {
      const before = String(row?.['before_it']);
      await this.#putBack(`SET ${setting} = ${/^\d+$/.test(before) ? before : `'${before}'`}`);
    }
  }

  /** Ends a connection that cannot be put back as it was: nobody else is to get it. */
  async #putBack(sql: string): Promise<void> {
    await this.send(sql).catch(() => {
      this.#connection.destroy();
    });
  }

  #send(method: 'query' | 'execute', options: Options): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#connection[method](options, (error, result) => {
        if (error === null) resolve(result);
        else reject(error);
      });
    });
  }
}
