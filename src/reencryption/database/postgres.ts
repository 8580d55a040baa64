import type { DataSource } from 'typeorm';

import type { Storage } from '../../format/field-ciphertext';
import type { UsedKeys } from '../../keys/cache/used-keys';
import { fenceSql } from '../../typeorm/connection/key-fence';
import { databaseCode } from '../../typeorm/connection/transient-conflict';
import { onAllRows } from '../../typeorm/tables/all-rows';
import { databaseTimeSql } from '../../typeorm/connection/sql-dialect';
import type { WorkTable } from './work-table';

import {
  boundarySql,
  EXCEPT_LOCKED,
  HELD_FOR_A_MOMENT,
  holderSql,
  keyOf,
  pageOf,
  pageSql,
} from './page-sql';
import type { PageDialect, PageStatement, RawRow, RowLocking } from './page-sql';
import { keyToText, LEASE_MS, wrongLength } from './row';
import type {
  Lease,
  PageChange,
  PageColumn,
  PageRequest,
  RowKey,
  StoredPage,
  WantedToken,
} from './row';
import { DatabaseError, withConnection } from './run-database';
import type { RunDatabase } from './run-database';

/** The part of `pg` that is used. */
interface Client {
  query(sql: string, values?: readonly unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
}

const INTEGERS = ['smallint', 'integer'];
const TEXTS = ['text', 'character varying', 'bpchar'];

const DIALECT: PageDialect = {
  // As text: JavaScript's dates and numbers would lose digits of some.
  key: ({ name }) => `CAST(${name} AS text)`,
  parameter: (number) => `$${String(number)}`,
  bound: (number, { type }) => `CAST($${String(number)} AS ${type})`,
  version: { at: 'ctid', by: 'xmin' },
};

/**
 * PostgreSQL. A page is one statement. A row is written only if it is the very version that was
 * read, which `ctid` and `xmin` tell without its content. Where the application keeps a row locked,
 * the page is written again without such rows, so that the run neither waits for the application nor
 * deadlocks with it.
 */
export class PostgresRunDatabase implements RunDatabase {
  readonly now: string;
  readonly lanes = 2;
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
    this.now = databaseTimeSql(dataSource);
  }

  maxRows(): number {
    return Number.POSITIVE_INFINITY;
  }

  beginsWith(cell: string, storage: Storage, prefixes: readonly string[]): string {
    if (prefixes.length === 0) return 'FALSE';
    const header =
      storage === 'text' ? `substr(${cell}, 1, 12)` : `encode(substr(${cell}, 1, 9), 'hex')`;
    const literals = prefixes.map((prefix) =>
      storage === 'text' ? `'${prefix}'` : `'${Buffer.from(prefix, 'base64url').toString('hex')}'`,
    );
    return `${header} IN (${literals.join(', ')})`;
  }

  async columnTypes(table: string): Promise<ReadonlyMap<string, string>> {
    const rows = await this.#query(
      // Without a length: cast to `character`, which is one of length 1, a value would be cut.
      'SELECT attname AS name, format_type(atttypid, -1) AS type FROM pg_attribute ' +
        'WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped',
      [table],
    );
    return new Map(rows.map(({ name, type }) => [String(name), String(type)]));
  }

  async count(table: WorkTable, condition: string): Promise<readonly [number, number]> {
    const [row] = await this.#queryAll(table, {
      sql: `SELECT COUNT(*) AS total, COUNT(*) FILTER (WHERE ${condition}) AS pending FROM ${table.name}`,
      values: [],
    });
    return [Number(row?.['total'] ?? 0), Number(row?.['pending'] ?? 0)];
  }

  async readPage(table: WorkTable, request: PageRequest): Promise<StoredPage> {
    const statement = pageSql(DIALECT, table, request);
    return pageOf(DIALECT, table, await this.#queryAll(table, statement));
  }

  async boundary(table: WorkTable, request: PageRequest): Promise<RowKey | undefined> {
    const [row] = await this.#queryAll(table, boundarySql(DIALECT, table, request));
    return row === undefined ? undefined : keyOf(table, row);
  }

  async writePage(
    table: WorkTable,
    change: PageChange,
    lease: Lease,
    cursor: RowKey | undefined,
  ): Promise<number | undefined> {
    try {
      return await this.#writePage(table, change, lease, cursor, HELD_FOR_A_MOMENT);
    } catch (error) {
      if (!isLockTimeout(error)) throw error;
      return this.#writePage(table, change, lease, cursor, EXCEPT_LOCKED);
    }
  }

  async #writePage(
    table: WorkTable,
    { page, rows, cells, used }: PageChange,
    lease: Lease,
    cursor: RowKey | undefined,
    locking: RowLocking,
  ): Promise<number | undefined> {
    const { keys } = table;
    const written = table.cells.flatMap((cell, at) => (cell.written ? [{ cell, at }] : []));
    const [at, by] = page.versions;
    const content = (column: PageColumn | undefined): unknown[] => rows.map((row) => column?.[row]);
    const columns: readonly Parameter[] = [
      ...keys.map(({ type }, i) => parameterOf(`k${String(i)}`, type, content(page.keys[i]))),
      parameterOf('at', 'tid', content(at)),
      parameterOf('by', 'xid', content(by)),
      ...written.map((column, i) =>
        parameterOf(`n${String(i)}`, contentType(column.cell.type), content(cells[column.at])),
      ),
    ];
    const until = used.usableUntil;
    const inTime = Number.isFinite(until) ? ` AND ${fenceSql(this.#dataSource, until)} = 1` : '';
    const [row] = await this.#query(
      `WITH lease AS MATERIALIZED (SELECT ${locking.onLease} FROM ${lease.table} ` +
        `WHERE run_id = $1 AND pass = $2 AND seq = $3 AND fence = $4${inTime} FOR UPDATE), ` +
        `page AS (SELECT * FROM unnest(${columns.map(({ type }, i) => `CAST($${String(i + 7)} AS ${type}[])`).join(', ')}) ` +
        `AS page(${columns.map(({ name }) => name).join(', ')}) WHERE EXISTS (SELECT 1 FROM lease)), ` +
        `${locking.moved(table, written)} ` +
        `UPDATE ${lease.table} SET cursor_key = COALESCE($5, cursor_key), ` +
        'changed = changed + (SELECT COUNT(*) FROM moved), ' +
        'lost = lost + $6 - (SELECT COUNT(*) FROM moved), ' +
        `lease_until = ${this.now} + ${String(LEASE_MS)} ` +
        'WHERE run_id = $1 AND pass = $2 AND seq = $3 AND fence = $4 ' +
        'RETURNING (SELECT COUNT(*) FROM moved) AS written',
      [
        lease.runId,
        lease.pass,
        lease.seq,
        lease.fence,
        cursor === undefined ? null : keyToText(cursor),
        rows.length,
        ...columns.map(({ array }) => array),
      ],
      used,
    );
    return row === undefined ? undefined : Number(row['written']);
  }

  async holderOf(table: WorkTable, token: WantedToken): Promise<RowKey | undefined> {
    const [row] = await this.#queryAll(table, holderSql(DIALECT, table, token));
    return row === undefined ? undefined : keyOf(table, row);
  }

  async keyProblem({ keys }: WorkTable, key: RowKey): Promise<Error | undefined> {
    if (key.length !== keys.length) return wrongLength(keys.length);
    if (key.some((value) => typeof value !== 'string')) return new TypeError('it is no text');
    const cast = keys.map((cell, i) => DIALECT.bound(i + 1, cell)).join(', ');
    try {
      await this.#query(`SELECT ${cast}`, key);
      return undefined;
    } catch (error) {
      // "Data Exception" (appendix A of the manual).
      if (error instanceof DatabaseError && error.code?.startsWith('22') === true) return error;
      throw error;
    }
  }

  reportedKey({ keys }: WorkTable, key: RowKey): readonly unknown[] {
    return key.map((value, i) => (INTEGERS.includes(keys[i]?.type ?? '') ? Number(value) : value));
  }

  async replicaLagMs(): Promise<number> {
    const [row] = await this.#query(
      "SELECT COALESCE(MAX(date_part('epoch', replay_lag)), 0) * 1000 AS lag FROM pg_stat_replication",
      [],
    );
    return Number(row?.['lag'] ?? 0);
  }

  #queryAll({ metadata }: WorkTable, { sql, values }: PageStatement): Promise<RawRow[]> {
    return withConnection(this.#dataSource, async (connection) => {
      const client = connection as Client;
      const send = (each: string): Promise<unknown> => client.query(each);
      const { rows } = await onAllRows(send, metadata, { isInTransaction: false }, () =>
        client.query(sql, values),
      );
      return rows;
    });
  }

  #query(
    sql: string,
    values: readonly unknown[],
    used?: UsedKeys,
  ): Promise<Record<string, unknown>[]> {
    return withConnection(this.#dataSource, async (client) => {
      used?.requireUsable();
      const { rows } = await (client as Client).query(sql, values);
      return rows;
    });
  }
}

/** A column of the page as the statement takes it. */
interface Parameter {
  readonly name: string;
  readonly type: string;
  readonly array: string;
}

function parameterOf(name: string, type: string, values: readonly unknown[]): Parameter {
  return { name, type, array: arrayLiteral(values) };
}

/** Text of any length is cut by the column, and not by the cast. */
function contentType(type: string): string {
  return TEXTS.includes(type) ? 'text' : type;
}

function isLockTimeout(error: unknown): boolean {
  return databaseCode(error) === '55P03';
}

/**
 * An array as PostgreSQL reads it from text (section 8.15.2 of its manual): of text, bytes and NULL.
 * One parameter for a column is several times as fast as the driver's own encoding of arrays.
 */
function arrayLiteral(values: readonly unknown[]): string {
  return `{${plainTexts(values) ?? values.map(element).join(',')}}`;
}

/** Texts in which nothing needs an escape, as keys are, are quoted by JSON, all at once. */
function plainTexts(values: readonly unknown[]): string | undefined {
  if (!values.every((value) => typeof value === 'string')) return undefined;
  const json = JSON.stringify(values);
  return json.includes('\\') ? undefined : json.slice(1, -1);
}

function element(value: unknown): string {
  if (value === null || value === undefined) return 'NULL';
  if (Buffer.isBuffer(value)) return `"\\\\x${value.toString('hex')}"`;
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}
