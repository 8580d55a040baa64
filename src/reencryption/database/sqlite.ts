import type { DataSource } from 'typeorm';
import type { Storage } from '../../format/field-ciphertext';
import { databaseTimeSql, sqliteColumnsSql } from '../../typeorm/connection/sql-dialect';
import type { WorkCell, WorkTable } from './work-table';
import { fenceSql } from '../../typeorm/connection/key-fence';
import { withConnection } from './run-database';
import type { Lease, PageChange, StoredPage, PageRequest, RowKey, WantedToken } from './row';
import { LEASE_MS, keyToText, wrongLength } from './row';
import { boundarySql, holderSql, keyOf, pageOf, pageSql } from './page-sql';
import type { PageDialect, PageStatement, RawRow } from './page-sql';
import type { RunDatabase } from './run-database';
import { sqliteHandle } from './sqlite-handle';
import type { PageStatements, SqliteConnection, SqliteHandle } from './sqlite-handle';

/** Parameters that a statement may have in every build of SQLite from 3.32 on. */
const MAX_PARAMETERS = 32_000;

const DIALECT: PageDialect = {
  // Integers as text: they have 64 bits, JavaScript's numbers 53. Compared with the column, they are
  // integers again.
  key: (cell) => (isInteger(cell) ? `CAST(${cell.name} AS TEXT)` : cell.name),
  parameter: () => '?',
  bound: () => '?',
  version: {},
};

/** SQLite. A row is written only if its cells hold what was read. */
export class SqliteRunDatabase implements RunDatabase {
  readonly now: string;
  readonly lanes = 1;
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
    this.now = databaseTimeSql(dataSource);
  }

  maxRows({ keys, cells }: WorkTable): number {
    const parameters = keys.length + 2 * cells.length;
    return Math.floor(MAX_PARAMETERS / parameters);
  }

  beginsWith(cell: string, storage: Storage, prefixes: readonly string[]): string {
    if (prefixes.length === 0) return 'FALSE';
    const header = storage === 'text' ? `substr(${cell}, 1, 12)` : `substr(${cell}, 1, 9)`;
    const literals = prefixes.map((prefix) =>
      storage === 'text' ? `'${prefix}'` : `x'${Buffer.from(prefix, 'base64url').toString('hex')}'`,
    );
    return `${header} IN (${literals.join(', ')})`;
  }

  async columnTypes(table: string): Promise<ReadonlyMap<string, string>> {
    const { sql, values } = sqliteColumnsSql(table.replace(/^"|"$/g, '').split('"."'));
    const rows = await this.#all(sql, values);
    return new Map(rows.map(({ name, type }) => [String(name), String(type)]));
  }

  async count({ name }: WorkTable, condition: string): Promise<readonly [number, number]> {
    const [row] = await this.#all(
      `SELECT COUNT(*) AS total, COUNT(CASE WHEN ${condition} THEN 1 END) AS pending FROM ${name}`,
      [],
    );
    return [Number(row?.['total'] ?? 0), Number(row?.['pending'] ?? 0)];
  }

  async readPage(table: WorkTable, request: PageRequest): Promise<StoredPage> {
    return pageOf(DIALECT, table, await this.#run(pageSql(DIALECT, table, request)));
  }

  async boundary(table: WorkTable, request: PageRequest): Promise<RowKey | undefined> {
    const [row] = await this.#run(boundarySql(DIALECT, table, request));
    return row === undefined ? undefined : keyOf(table, row);
  }

  async writePage(
    table: WorkTable,
    change: PageChange,
    lease: Lease,
    cursor: RowKey | undefined,
  ): Promise<number | undefined> {
    const { written, renewed } = await this.#with((handle) => {
      change.used.requireUsable();
      return handle.write(
        change.rows.length === 0
          ? undefined
          : pageStatements(this.#dataSource, table, change, lease),
        (count) => ({
          sql:
            `UPDATE ${lease.table} SET cursor_key = COALESCE(?, cursor_key), ` +
            `changed = changed + ?, lost = lost + ?, lease_until = ${this.now} + ${String(LEASE_MS)} ` +
            'WHERE run_id = ? AND pass = ? AND seq = ? AND fence = ?',
          values: [
            cursor === undefined ? null : keyToText(cursor),
            count,
            change.rows.length - count,
            ...fencing(lease),
          ],
        }),
      );
    });
    return renewed === 1 ? written : undefined;
  }

  async holderOf(table: WorkTable, token: WantedToken): Promise<RowKey | undefined> {
    const [row] = await this.#run(holderSql(DIALECT, table, token));
    return row === undefined ? undefined : keyOf(table, row);
  }

  keyProblem({ keys }: WorkTable, key: RowKey): Promise<Error | undefined> {
    if (key.length !== keys.length) return Promise.resolve(wrongLength(keys.length));
    const odd = keys.find((cell, i) => !mayHold(cell, key[i]));
    return Promise.resolve(odd && new TypeError(`${odd.name} (${odd.type}) cannot hold it`));
  }

  reportedKey({ keys }: WorkTable, key: RowKey): readonly unknown[] {
    return key.map((value, i) => {
      const number = Number(value);
      return isInteger(keys[i]) && Number.isSafeInteger(number) ? number : value;
    });
  }

  replicaLagMs(): Promise<number> {
    return Promise.resolve(0);
  }

  #run({ sql, values }: PageStatement): Promise<RawRow[]> {
    return this.#all(sql, values);
  }

  #all(sql: string, values: readonly unknown[]): Promise<Record<string, unknown>[]> {
    return this.#with((handle) => handle.all(sql, values));
  }

  #with<T>(work: (handle: SqliteHandle) => Promise<T>): Promise<T> {
    return withConnection(this.#dataSource, (connection) =>
      work(sqliteHandle(connection as SqliteConnection)),
    );
  }
}

/** Statements that do nothing where the lease is another worker's by now. */
function pageStatements(
  dataSource: DataSource,
  table: WorkTable,
  { page, rows, cells, used }: PageChange,
  lease: Lease,
): PageStatements {
  const written = table.cells.flatMap((cell, at) => (cell.written ? [{ cell, at }] : []));
  const assign = (parameter: (at: number) => string): string =>
    written.map(({ cell }, i) => `${cell.name} = ${parameter(i)}`).join(', ');
  const asRead = (parameter: (at: number) => string): string =>
    [
      ...table.keys.map(({ name }, i) => `${table.name}.${name} = ${parameter(i)}`),
      ...table.cells.map(
        ({ name }, i) => `${table.name}.${name} IS ${parameter(table.keys.length + i)}`,
      ),
    ].join(' AND ');
  const columns = [...written.map(({ at }) => cells[at] ?? []), ...page.keys, ...page.cells];
  const values = (row: number): unknown[] => columns.map((column) => column[row]);
  const until = used.usableUntil;
  const inTime = Number.isFinite(until) ? ` AND ${fenceSql(dataSource, until)} = 1` : '';
  const guard = {
    sql: `SELECT 1 FROM ${lease.table} WHERE run_id = ? AND pass = ? AND seq = ? AND fence = ?${inTime}`,
    values: fencing(lease),
  };
  return {
    guard,
    row: {
      sql: `UPDATE ${table.name} SET ${assign(() => '?')} WHERE ${asRead(() => '?')}`,
      rows,
      values,
    },
    whole: () => {
      const width = written.length + table.keys.length + table.cells.length;
      const tuple = `(${Array.from({ length: width }, () => '?').join(', ')})`;
      // The columns of VALUES are column1, column2, …
      const column = (at: number): string => `page.column${String(at + 1)}`;
      return {
        sql:
          `UPDATE ${table.name} SET ${assign(column)} ` +
          `FROM (VALUES ${rows.map(() => tuple).join(', ')}) AS page ` +
          `WHERE ${asRead((at) => column(written.length + at))} AND EXISTS (${guard.sql})`,
        values: [...rows.flatMap(values), ...guard.values],
      };
    },
  };
}

function fencing({ runId, pass, seq, fence }: Lease): readonly unknown[] {
  return [runId, pass, seq, fence];
}

/**
 * Whether a value can be in a column of the primary key. Of another type, it would come after all that
 * can: SQLite orders numbers before text before bytes.
 */
function mayHold(cell: WorkCell, value: unknown): boolean {
  if (isInteger(cell)) return typeof value === 'string' && isInt64(value);
  if (/char|clob|text/i.test(cell.type)) return typeof value === 'string';
  if (/real|floa|doub/i.test(cell.type)) return typeof value === 'number';
  return cell.type === '' || /blob/i.test(cell.type) || !Buffer.isBuffer(value);
}

function isInt64(text: string): boolean {
  return /^-?\d{1,19}$/.test(text) && BigInt.asIntN(64, BigInt(text)) === BigInt(text);
}

/** The rule of affinity (section 3.1 of SQLite's "Datatypes"). */
function isInteger(key: WorkCell | undefined): boolean {
  return /int/i.test(key?.type ?? '');
}
