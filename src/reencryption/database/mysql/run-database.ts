import type { DataSource } from 'typeorm';

import type { Storage } from '../../../format/field-ciphertext';
import { isLockTimeout } from '../../../typeorm/connection/transient-conflict';
import { dialectOf } from '../../../typeorm/dialect/dialect-of';
import { requireSession } from '../../../typeorm/dialect/mysql/settings';
import { PageReads } from '../page-reads';
import type { PageDialect, PageStatement, RawRow } from '../page-sql';
import { wrongLength } from '../row';
import type { Lease, PageChange, RowKey } from '../row';
import { DatabaseError, withConnection } from '../run-database';
import type { RunDatabase } from '../run-database';
import type { WorkTable } from '../work-table';

import { MysqlClient } from './client';
import type { MysqlConnection } from './client';
import { compared } from './compared';
import { isKeyText, isZoned, keyColumn } from './key-columns';
import { checkpointSql, leaseSql, lockSql, unchangedRows, updateSqls } from './page-write';

/** The most rows for which the server looks up each by the index (`range_optimizer_max_mem_size`). */
const MAX_ROWS = 10_000;

/** Seconds to wait for a lock that is not of the rows themselves: MySQL has no less than one. */
const LOCK_WAIT_S = "IF(VERSION() LIKE '%MariaDB%', 0, 1)";

const DIALECT: PageDialect = {
  key: (cell) => keyColumn(cell).selected(cell.name),
  parameter: () => '?',
  bound: (_, cell) => keyColumn(cell).value('?'),
  compared,
  version: {},
};

/** Selects the columns of a table: those of text with their collations, by which they are compared. */
const COLUMNS_SQL =
  "SELECT column_name AS name, CONCAT(column_type, COALESCE(CONCAT(' CHARACTER SET ', character_set_name, " +
  "' COLLATE ', collation_name), '')) AS type, LOWER(extra) LIKE '%on update%' AS renewed " +
  'FROM information_schema.columns WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ?';

/**
 * MySQL and MariaDB. A page locks its rows except those that others have locked, so that the run neither waits for
 * the application nor deadlocks with it, and writes those that are still as they were read.
 */
export class MysqlRunDatabase extends PageReads implements RunDatabase {
  readonly now: string;
  readonly concurrency = 2;
  readonly #dataSource: DataSource;
  readonly #renewed = new Map<string, Promise<string[]>>();

  constructor(dataSource: DataSource) {
    super(DIALECT);
    this.#dataSource = dataSource;
    this.now = dialectOf(dataSource).sql.now;
  }

  maxRows(): number {
    return MAX_ROWS;
  }

  beginsWith(cell: string, storage: Storage, prefixes: readonly string[]): string {
    if (prefixes.length === 0) return 'FALSE';
    if (storage === 'text') {
      const list = prefixes.map((prefix) => `'${prefix}'`).join(', ');
      return `${dialectOf(this.#dataSource).sql.prefix(cell, storage)} IN (${list})`;
    }
    const list = prefixes.map((prefix) => `X'${Buffer.from(prefix, 'base64url').toString('hex')}'`);
    return `SUBSTR(${cell}, 1, 9) IN (${list.join(', ')})`;
  }

  async columnTypes(table: string): Promise<ReadonlyMap<string, string>> {
    const columns = await this.#columns(table);
    return new Map(columns.map(({ name, type }) => [String(name), String(type)]));
  }

  async writePage(
    table: WorkTable,
    change: PageChange,
    lease: Lease,
    cursor: RowKey | undefined,
  ): Promise<number | undefined> {
    try {
      return await this.#write(table, change, lease, cursor);
    } catch (error) {
      if (!isLockTimeout(error)) throw error;
      return this.#writeParts(table, change, lease, cursor);
    }
  }

  async keyProblem({ keys }: WorkTable, key: RowKey): Promise<Error | undefined> {
    if (key.length !== keys.length) return wrongLength(keys.length);
    if (!key.every(isKeyText)) return new TypeError('it is no text of a primary key');
    const back = keys.map((cell, i) => {
      const column = keyColumn(cell);
      return `${column.selected(column.value('?'))} AS k${String(i)}`;
    });
    try {
      const [row] = await this.#with((client) =>
        client.rows({ sql: `SELECT ${back.join(', ')}`, values: key }),
      );
      const isSame = key.every((text, i) => row?.[`k${String(i)}`] === text);
      return isSame ? undefined : new TypeError('its columns cannot hold it');
    } catch (error) {
      if (error instanceof DatabaseError && /_VALUE/.test(error.code ?? '')) return error;
      throw error;
    }
  }

  reportedKey({ keys }: WorkTable, key: RowKey): readonly unknown[] {
    return keys.map((cell, i) => keyColumn(cell).reported(String(key[i])));
  }

  protected override rows({ keys }: WorkTable, statement: PageStatement): Promise<RawRow[]> {
    return this.#with(async (client) => {
      // Here, as what is read in another character set is written in it.
      await requireSession((sql) => client.rows({ sql, values: [] }));
      const read = (): Promise<RawRow[]> => client.rows(statement);
      return keys.some(isZoned) ? client.withSetting('time_zone', "'+00:00'", read) : read();
    });
  }

  /** Writes a page by its halves, so that a lock which does not end holds up its own row alone. */
  async #writeParts(
    table: WorkTable,
    change: PageChange,
    lease: Lease,
    cursor: RowKey | undefined,
  ): Promise<number | undefined> {
    const { rows } = change;
    const part = (from: number, to: number): PageChange => ({
      ...change,
      rows: rows.slice(from, to),
    });
    if (rows.length === 1) return this.#write(table, part(0, 0), lease, cursor, rows.length);
    const middle = Math.ceil(rows.length / 2);
    const first = await this.writePage(table, part(0, middle), lease, undefined);
    if (first === undefined) return undefined;
    const second = await this.writePage(table, part(middle, rows.length), lease, cursor);
    return second === undefined ? undefined : first + second;
  }

  /** @param left - rows of the page that are given up. */
  async #write(
    table: WorkTable,
    change: PageChange,
    lease: Lease,
    cursor: RowKey | undefined,
    left = 0,
  ): Promise<number | undefined> {
    const renewed = await this.#renewedColumns(table.name);
    const page = (client: MysqlClient): Promise<number | undefined> =>
      client.inTransaction(async () => {
        const [row] = await client.rows(leaseSql(lease));
        if (row === undefined) return undefined;
        const longest = Number(row['longest']) / 2;
        const written = await this.#writeRows(client, table, change, { renewed, longest });
        const lost = left + change.rows.length - written;
        await client.change(checkpointSql(this.#dataSource, lease, cursor, { written, lost }));
        return written;
      });
    return this.#with((client) =>
      table.keys.some(isZoned)
        ? client.withSetting('time_zone', "'+00:00'", () => page(client))
        : page(client),
    );
  }

  async #writeRows(
    client: MysqlClient,
    table: WorkTable,
    change: PageChange,
    parts: { readonly renewed: readonly string[]; readonly longest: number },
  ): Promise<number> {
    if (change.rows.length === 0) return 0;
    const locked = await client.rows(lockSql(table, change, change.rows));
    const rows = unchangedRows(change, locked);
    if (rows.length === 0) return 0;
    return client.withSetting('innodb_lock_wait_timeout', LOCK_WAIT_S, async () => {
      change.used.requireUsable();
      let written = 0;
      for (const sql of updateSqls(this.#dataSource, table, change, rows, parts)) {
        // The server would end the connection.
        if (sql.length >= 2 * parts.longest) throw tooLarge();
        written += await client.send(sql);
      }
      return written;
    });
  }

  /** Fetches the columns that an UPDATE renews by itself (ON UPDATE): a run does not change what they tell. */
  #renewedColumns(table: string): Promise<string[]> {
    const known = this.#renewed.get(table);
    if (known !== undefined) return known;
    const { driver } = this.#dataSource;
    const found = this.#columns(table).then((columns) =>
      columns
        .filter(({ renewed }) => Number(renewed) === 1)
        .map(({ name }) => driver.escape(String(name))),
    );
    this.#renewed.set(table, found);
    return found;
  }

  #columns(table: string): Promise<RawRow[]> {
    const [name, database] = table.replace(/^`|`$/g, '').split('`.`').reverse();
    return this.#with((client) =>
      client.rows({ sql: COLUMNS_SQL, values: [database ?? null, name] }),
    );
  }

  #with<T>(work: (client: MysqlClient) => Promise<T>): Promise<T> {
    return withConnection(this.#dataSource, (connection) =>
      work(new MysqlClient(connection as MysqlConnection)),
    );
  }
}

/** Returns the error of a row that no statement can write. */
function tooLarge(): DatabaseError {
  return new DatabaseError(
    'A row is longer than a statement may be (max_allowed_packet)',
    'ER_NET_PACKET_TOO_LARGE',
  );
}
