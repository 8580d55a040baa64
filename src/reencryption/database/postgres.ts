import type { DataSource } from 'typeorm';
import type { Storage } from '../../format/field-ciphertext';
import type { WorkTable } from '../work-table';
import { arrayLiteral } from './array-literal';
import { withConnection } from './connection';
import type { Lease } from './lease';
import { LEASE_MS } from './lease';
import { boundarySql, cellsOf, holderSql, keyOf, pageSql } from './page-sql';
import type { PageDialect, PageStatement, RawRow } from './page-sql';
import type { PageRequest, RowChange, RowKey, StoredRow } from './row';
import { keyToText } from './row';
import type { RunDatabase } from './run-database';

/** The part of `pg` that is used. */
interface Client {
  query(sql: string, values: readonly unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
}

const INTEGERS = ['smallint', 'integer'];

const DIALECT: PageDialect = {
  // As text: JavaScript's dates and numbers would lose digits of some.
  key: ({ name }) => `CAST(${name} AS text)`,
  parameter: (number) => `$${String(number)}`,
  bound: (number, { type }) => `CAST($${String(number)} AS ${type})`,
  version: ['CAST(ctid AS text) AS at', 'CAST(xmin AS text) AS by'],
};

/**
 * PostgreSQL. A page is one statement: rows that somebody else has locked are skipped, so that the
 * run neither waits for the application nor deadlocks with it, and a row is written only if it is
 * the very version that was read, which `ctid` and `xmin` tell without its content.
 */
export class PostgresRunDatabase implements RunDatabase {
  readonly now = "CAST(date_part('epoch', clock_timestamp()) * 1000 AS bigint)";
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
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
      'SELECT attname AS name, format_type(atttypid, NULL) AS type FROM pg_attribute ' +
        'WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped',
      [table],
    );
    return new Map(rows.map(({ name, type }) => [String(name), String(type)]));
  }

  async count({ name }: WorkTable, condition: string): Promise<readonly [number, number]> {
    const [row] = await this.#query(
      `SELECT COUNT(*) AS total, COUNT(*) FILTER (WHERE ${condition}) AS pending FROM ${name}`,
      [],
    );
    return [Number(row?.['total'] ?? 0), Number(row?.['pending'] ?? 0)];
  }

  async readPage(table: WorkTable, request: PageRequest): Promise<StoredRow[]> {
    const rows = await this.#run(pageSql(DIALECT, table, request));
    return rows.map((row) => ({
      key: keyOf(table, row),
      cells: cellsOf(table, row),
      version: [String(row['at']), String(row['by'])],
    }));
  }

  async boundary(table: WorkTable, request: PageRequest): Promise<RowKey | undefined> {
    const [row] = await this.#run(boundarySql(DIALECT, table, request));
    return row === undefined ? undefined : keyOf(table, row);
  }

  async writePage(
    table: WorkTable,
    changes: readonly RowChange[],
    lease: Lease,
    cursor: RowKey | undefined,
  ): Promise<number | undefined> {
    const written = table.cells.flatMap((cell, at) => (cell.written ? [{ cell, at }] : []));
    const arrays = [
      ...table.keys.map(({ type }, i) =>
        column(
          type,
          changes.map(({ row }) => row.key[i]),
        ),
      ),
      column(
        'tid',
        changes.map(({ row }) => row.version[0]),
      ),
      column(
        'text',
        changes.map(({ row }) => row.version[1]),
      ),
      ...written.map(({ cell, at }) =>
        column(
          cell.type,
          changes.map(({ cells }) => cells[at]),
        ),
      ),
    ];
    const aliases = [
      ...table.keys.map((_, i) => `k${String(i)}`),
      'at',
      'by',
      ...written.map((_, i) => `n${String(i)}`),
    ];
    const sameKey = table.keys.map(({ name }, i) => `t.${name} = page.k${String(i)}`).join(' AND ');
    const [row] = await this.#query(
      `WITH lease AS (SELECT 1 FROM ${lease.table} WHERE run_id = $1 AND pass = $2 AND seq = $3 ` +
        'AND fence = $4 FOR UPDATE), ' +
        `page AS (SELECT * FROM unnest(${arrays.map(({ type }, i) => `CAST($${String(i + 7)} AS ${type}[])`).join(', ')}) ` +
        `AS page(${aliases.join(', ')}) WHERE EXISTS (SELECT 1 FROM lease)), ` +
        `held AS (SELECT t.ctid AS at, ${written.map((_, i) => `page.n${String(i)}`).join(', ')} ` +
        `FROM ${table.name} t JOIN page ON ${sameKey} AND t.ctid = page.at ` +
        'AND CAST(t.xmin AS text) = page.by FOR NO KEY UPDATE OF t SKIP LOCKED), ' +
        `moved AS (UPDATE ${table.name} t SET ${written.map(({ cell }, i) => `${cell.name} = held.n${String(i)}`).join(', ')} ` +
        'FROM held WHERE t.ctid = held.at RETURNING 1) ' +
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
        changes.length,
        ...arrays.map(({ literal }) => literal),
      ],
    );
    return row === undefined ? undefined : Number(row['written']);
  }

  async holderOf(table: WorkTable, cell: number, token: unknown): Promise<RowKey | undefined> {
    const [row] = await this.#run(holderSql(DIALECT, table, cell, token));
    return row === undefined ? undefined : keyOf(table, row);
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

  #run({ sql, values }: PageStatement): Promise<RawRow[]> {
    return this.#query(sql, values);
  }

  #query(sql: string, values: readonly unknown[]): Promise<Record<string, unknown>[]> {
    return withConnection(this.#dataSource, async (client) => {
      const { rows } = await (client as Client).query(sql, values);
      return rows;
    });
  }
}

function column(type: string, values: readonly unknown[]): { type: string; literal: string } {
  return { type, literal: arrayLiteral(values) };
}
