import type { DataSource } from 'typeorm';

import type { Storage } from '../../../format/field-ciphertext';
import { dialectOf } from '../../../typeorm/dialect/dialect-of';
import { columnsSql } from '../../../typeorm/dialect/sqlite/catalog';
import { PageReads } from '../page-reads';
import { andUsableSql, comparedAsRows, writtenCells } from '../page-sql';
import type { PageDialect, PageStatement, RawRow, WrittenCell } from '../page-sql';
import { keyToText, LEASE_MS, leaseKey, wrongLength } from '../row';
import type { Lease, PageChange, RowKey } from '../row';
import { withConnection } from '../run-database';
import type { RunDatabase } from '../run-database';
import type { WorkCell, WorkTable } from '../work-table';

import { sqliteHandle } from './handle';
import type { PageStatements, SqliteConnection, SqliteHandle } from './handle';

/** The most parameters that a statement may have in every build of SQLite from 3.32 on. */
const MAX_PARAMETERS = 32_000;

const DIALECT: PageDialect = {
  // Integers as text: they have 64 bits, JavaScript's numbers 53. A comparison with the column makes
  // them integers again.
  key: (cell) => (isInteger(cell) ? `CAST(${cell.name} AS TEXT)` : cell.name),
  parameter: () => '?',
  bound: () => '?',
  compared: comparedAsRows,
  version: {},
};

/** SQLite. A row is written only if its cells still hold what was read. */
export class SqliteRunDatabase extends PageReads implements RunDatabase {
  readonly now: string;
  readonly concurrency = 1;
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    super(DIALECT);
    this.#dataSource = dataSource;
    this.now = dialectOf(dataSource).sql.now;
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
    const statement = columnsSql(table.replace(/^"|"$/g, '').split('"."'));
    const rows = await this.#with((handle) => handle.all(statement));
    return new Map(rows.map(({ name, type }) => [String(name), String(type)]));
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
          values: [keyToText(cursor), count, change.rows.length - count, ...leaseKey(lease)],
        }),
      );
    });
    return renewed === 1 ? written : undefined;
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

  protected override rows(_: WorkTable, statement: PageStatement): Promise<RawRow[]> {
    return this.#with((handle) => handle.all(statement));
  }

  #with<T>(work: (handle: SqliteHandle) => Promise<T>): Promise<T> {
    return withConnection(this.#dataSource, (connection) =>
      work(sqliteHandle(connection as SqliteConnection)),
    );
  }
}

/** Returns statements that do nothing if another worker has the lease by now. */
function pageStatements(
  dataSource: DataSource,
  table: WorkTable,
  { page, rows, cells, used }: PageChange,
  lease: Lease,
): PageStatements {
  const written = writtenCells(table);
  const columns = [...written.map(({ at }) => cells[at] ?? []), ...page.keys, ...page.cells];
  const values = (row: number): unknown[] => columns.map((column) => column[row]);
  const guard = {
    sql: `SELECT 1 FROM ${lease.table} WHERE run_id = ? AND pass = ? AND seq = ? AND fence = ?${andUsableSql(dataSource, used)}`,
    values: leaseKey(lease),
  };
  const one = updateParts(table, written, () => '?');
  return {
    guard,
    row: { sql: `UPDATE ${table.name} SET ${one.set} WHERE ${one.where}`, rows, values },
    whole: () => {
      const tuple = `(${columns.map(() => '?').join(', ')})`;
      // The columns of VALUES are column1, column2, …
      const all = updateParts(table, written, (at) => `page.column${String(at + 1)}`);
      return {
        sql:
          `UPDATE ${table.name} SET ${all.set} ` +
          `FROM (VALUES ${rows.map(() => tuple).join(', ')}) AS page ` +
          `WHERE ${all.where} AND EXISTS (${guard.sql})`,
        values: [...rows.flatMap(values), ...guard.values],
      };
    },
  };
}

/** Assigns the written cells, where the primary key and all cells are as they were read. */
function updateParts(
  { name: table, keys, cells }: WorkTable,
  written: readonly WrittenCell[],
  parameter: (at: number) => string,
): { readonly set: string; readonly where: string } {
  const keysAt = written.length;
  const cellsAt = keysAt + keys.length;
  return {
    set: written.map(({ cell }, i) => `${cell.name} = ${parameter(i)}`).join(', '),
    where: [
      ...keys.map(({ name }, i) => `${table}.${name} = ${parameter(keysAt + i)}`),
      ...cells.map(({ name }, i) => `${table}.${name} IS ${parameter(cellsAt + i)}`),
    ].join(' AND '),
  };
}

/**
 * Whether a column of the primary key can hold a value. One of another type would sort before or after
 * all the others: SQLite orders numbers before text before bytes.
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

/** Applies the rules of type affinity (section 3.1 of SQLite's "Datatypes"). */
function isInteger(key: WorkCell | undefined): boolean {
  return /int/i.test(key?.type ?? '');
}
