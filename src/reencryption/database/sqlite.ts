import type { DataSource } from 'typeorm';
import type { Storage } from '../../format/field-ciphertext';
import type { WorkCell, WorkTable } from '../work-table';
import { withConnection } from './connection';
import type { Lease } from './lease';
import { LEASE_MS } from './lease';
import type { PageRequest, RowChange, RowKey, StoredRow } from './row';
import { keyToText } from './row';
import type { RunDatabase } from './run-database';
import { sqliteHandle } from './sqlite-handle';
import type { SqliteConnection, SqliteHandle } from './sqlite-handle';

/** Parameters that a statement may have in every build of SQLite from 3.32 on. */
const MAX_PARAMETERS = 32_000;

/** SQLite. A row is written only if its cells hold what was read. */
export class SqliteRunDatabase implements RunDatabase {
  readonly now = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
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
    const rows = await this.#all('SELECT name, type FROM pragma_table_info(?)', [
      table.replace(/^"|"$/g, ''),
    ]);
    return new Map(rows.map(({ name, type }) => [String(name), String(type)]));
  }

  async count({ name }: WorkTable, condition: string): Promise<readonly [number, number]> {
    const [row] = await this.#all(
      `SELECT COUNT(*) AS total, COUNT(CASE WHEN ${condition} THEN 1 END) AS pending FROM ${name}`,
      [],
    );
    return [Number(row?.['total'] ?? 0), Number(row?.['pending'] ?? 0)];
  }

  async readPage(table: WorkTable, request: PageRequest): Promise<StoredRow[]> {
    const { keys, cells } = table;
    const selected = [
      ...keyColumns(keys),
      ...cells.map(({ name }, i) => `${name} AS c${String(i)}`),
    ];
    const { where, values } = walk(keys, request);
    const rows = await this.#all(
      `SELECT ${selected.join(', ')} FROM ${table.name}${where} ORDER BY ${names(keys)} ` +
        `LIMIT ${String(request.limit)}`,
      values,
    );
    return rows.map((row) => ({
      key: keys.map((_, i) => row[`k${String(i)}`]),
      cells: cells.map((_, i) => row[`c${String(i)}`]),
      version: [],
    }));
  }

  async boundary({ name, keys }: WorkTable, request: PageRequest): Promise<RowKey | undefined> {
    const { where, values } = walk(keys, request);
    const [row] = await this.#all(
      `SELECT ${keyColumns(keys).join(', ')} FROM ${name}${where} ORDER BY ${names(keys)} ` +
        `LIMIT 1 OFFSET ${String(request.limit - 1)}`,
      values,
    );
    return row === undefined ? undefined : keys.map((_, i) => row[`k${String(i)}`]);
  }

  async writePage(
    table: WorkTable,
    changes: readonly RowChange[],
    lease: Lease,
    cursor: RowKey | undefined,
  ): Promise<number | undefined> {
    const { written, renewed } = await this.#with((handle) =>
      handle.write(
        changes.length === 0 ? undefined : pageStatement(table, changes, lease),
        (count) => ({
          sql:
            `UPDATE ${lease.table} SET cursor_key = COALESCE(?, cursor_key), ` +
            `changed = changed + ?, lost = lost + ?, lease_until = ${this.now} + ${String(LEASE_MS)} ` +
            'WHERE run_id = ? AND pass = ? AND seq = ? AND fence = ?',
          values: [
            cursor === undefined ? null : keyToText(cursor),
            count,
            changes.length - count,
            ...fencing(lease),
          ],
        }),
      ),
    );
    return renewed === 1 ? written : undefined;
  }

  async holderOf(
    { name, keys, cells }: WorkTable,
    cell: number,
    token: unknown,
  ): Promise<RowKey | undefined> {
    const [row] = await this.#all(
      `SELECT ${keyColumns(keys).join(', ')} FROM ${name} WHERE ${String(cells[cell]?.name)} = ? LIMIT 1`,
      [token],
    );
    return row === undefined ? undefined : keys.map((_, i) => row[`k${String(i)}`]);
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

  #all(sql: string, values: readonly unknown[]): Promise<Record<string, unknown>[]> {
    return this.#with((handle) => handle.all(sql, values));
  }

  #with<T>(work: (handle: SqliteHandle) => Promise<T>): Promise<T> {
    return withConnection(this.#dataSource, (connection) =>
      work(sqliteHandle(connection as SqliteConnection)),
    );
  }
}

/** One statement, which does nothing where the lease is another worker's by now. */
function pageStatement(
  table: WorkTable,
  changes: readonly RowChange[],
  lease: Lease,
): { sql: string; values: unknown[] } {
  const { keys, cells } = table;
  const written = cells.flatMap((cell, at) => (cell.written ? [{ cell, at }] : []));
  const width = keys.length + cells.length + written.length;
  const tuple = `(${Array.from({ length: width }, () => '?').join(', ')})`;
  // The columns of VALUES are column1, column2, …
  const page = (at: number): string => `page.column${String(at + 1)}`;
  const assignments = written.map(
    ({ cell }, i) => `${cell.name} = ${page(keys.length + cells.length + i)}`,
  );
  const conditions = [
    ...keys.map(({ name }, i) => `${table.name}.${name} = ${page(i)}`),
    ...cells.map(({ name }, i) => `${table.name}.${name} IS ${page(keys.length + i)}`),
    `EXISTS (SELECT 1 FROM ${lease.table} WHERE run_id = ? AND pass = ? AND seq = ? AND fence = ?)`,
  ];
  return {
    sql:
      `UPDATE ${table.name} SET ${assignments.join(', ')} ` +
      `FROM (VALUES ${changes.map(() => tuple).join(', ')}) AS page WHERE ${conditions.join(' AND ')}`,
    values: [
      ...changes.flatMap(({ row, cells: next }) => [
        ...row.key,
        ...row.cells,
        ...written.map(({ at }) => next[at]),
      ]),
      ...fencing(lease),
    ],
  };
}

function fencing({ runId, pass, seq, fence }: Lease): readonly unknown[] {
  return [runId, pass, seq, fence];
}

/** Integers as text: they have 64 bits, JavaScript's numbers 53. Compared with the column, they are integers again. */
function keyColumns(keys: readonly WorkCell[]): string[] {
  return keys.map((key, i) =>
    isInteger(key) ? `CAST(${key.name} AS TEXT) AS k${String(i)}` : `${key.name} AS k${String(i)}`,
  );
}

/** The rule of affinity (section 3.1 of SQLite's "Datatypes"). */
function isInteger(key: WorkCell | undefined): boolean {
  return /int/i.test(key?.type ?? '');
}

function names(keys: readonly WorkCell[]): string {
  return keys.map(({ name }) => name).join(', ');
}

function walk(
  keys: readonly WorkCell[],
  { after, until, condition }: PageRequest,
): { readonly where: string; readonly values: readonly unknown[] } {
  const bound = (key: RowKey): string => key.map(() => '?').join(', ');
  const conditions = [
    ...(after === undefined ? [] : [`(${names(keys)}) > (${bound(after)})`]),
    ...(until === undefined ? [] : [`(${names(keys)}) <= (${bound(until)})`]),
    ...(condition === '' ? [] : [`(${condition})`]),
  ];
  return {
    where: conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`,
    values: [...(after ?? []), ...(until ?? [])],
  };
}
