import type { DataSource } from 'typeorm';

import type { Storage } from '../../../format/field-ciphertext';
import { dialectOf } from '../../../typeorm/dialect/dialect-of';
import { andUsableSql, writtenCells } from '../page-sql';
import type { PageStatement, RawRow } from '../page-sql';
import { LEASE_MS, keyToText, leaseKey } from '../row';
import type { Lease, PageChange, PageColumn, RowKey } from '../row';
import type { WorkCell, WorkTable } from '../work-table';

import { compared } from './compared';
import { isKeyText, keyColumn } from './key-columns';

/** Rows at the ends of the tree of comparisons that finds the new value of a row. */
const LEAF_ROWS = 16;

const NO_ROW = 'field-encryption: a row is not of its page';

const HAS_LEASE = 'WHERE run_id = ? AND pass = ? AND seq = ? AND fence = ?';

/** Locks a lease, if it still holds, and selects how long a statement may be. */
export function leaseSql(lease: Lease): PageStatement {
  return {
    sql: `SELECT @@max_allowed_packet AS longest FROM ${lease.table} ${HAS_LEASE} FOR UPDATE`,
    values: leaseKey(lease),
  };
}

/** Renews a lease and moves its checkpoint. */
export function checkpointSql(
  dataSource: DataSource,
  lease: Lease,
  cursor: RowKey | undefined,
  { written, lost }: { readonly written: number; readonly lost: number },
): PageStatement {
  return {
    sql:
      `UPDATE ${lease.table} SET cursor_key = COALESCE(?, cursor_key), changed = changed + ?, lost = lost + ?, ` +
      `lease_until = ${dialectOf(dataSource).sql.now} + ${String(LEASE_MS)} ${HAS_LEASE}`,
    values: [keyToText(cursor ?? null), written, lost, ...leaseKey(lease)],
  };
}

/** Locks rows of a page that nobody else has locked, and selects their cells and positions in the page. */
export function lockSql(
  { name, keys, cells }: WorkTable,
  { page }: PageChange,
  rows: readonly number[],
): PageStatement {
  const texts = rows.map((row) => [row, ...page.keys.map((column) => column[row])]);
  const longest = Math.max(
    ...texts.flatMap(([, ...key]) => key.map((text) => String(text).length)),
  );
  // A longer one than needed would take more memory, and one for each length another statement.
  const length = String(2 ** Math.ceil(Math.log2(Math.max(longest, 32))));
  const columns = keys.map(
    (_, i) => `k${String(i)} VARCHAR(${length}) CHARACTER SET ascii PATH '$[${String(i + 1)}]'`,
  );
  const isRow = keys.map(
    (cell, i) => `t.${cell.name} = ${keyColumn(cell).value(`page.k${String(i)}`)}`,
  );
  return {
    sql:
      `SELECT page.place, ${cells.map((cell, i) => `t.${cell.name} AS c${String(i)}`).join(', ')} ` +
      `FROM JSON_TABLE(CONVERT(? USING utf8mb4), '$[*]' COLUMNS (place INT PATH '$[0]', ${columns.join(', ')})) AS page ` +
      `STRAIGHT_JOIN ${name} AS t ON ${isRow.join(' AND ')} FOR UPDATE SKIP LOCKED`,
    values: [JSON.stringify(texts)],
  };
}

/** Returns the positions of the rows of {@link lockSql} whose cells are as they were read. */
export function unchangedRows({ page }: PageChange, locked: readonly RawRow[]): number[] {
  return locked
    .filter((row) =>
      page.cells.every((column, i) => isSame(column[Number(row['place'])], row[`c${String(i)}`])),
    )
    .map((row) => Number(row['place']));
}

function isSame(before: unknown, now: unknown): boolean {
  return Buffer.isBuffer(before) && Buffer.isBuffer(now) ? before.equals(now) : before === now;
}

/** A row with its key and new cells in SQL. */
interface SqlRow {
  readonly key: readonly string[];
  readonly cells: readonly string[];
}

/**
 * Returns statements that write rows which are locked, each shorter than `longest` unless one row is longer.
 *
 * A join with the new values would take a temporary table, on disk even, for these and for the changed rows, and
 * twice as long.
 *
 * @param renewed - columns that an UPDATE would renew by itself.
 */
export function updateSqls(
  dataSource: DataSource,
  table: WorkTable,
  change: PageChange,
  rows: readonly number[],
  { renewed, longest }: { readonly renewed: readonly string[]; readonly longest: number },
): string[] {
  const { page, cells, used } = change;
  const written = writtenCells(table).filter(({ at }) =>
    rows.some((row) => cells[at]?.[row] !== page.cells[at]?.[row]),
  );
  const keys = table.keys.map((cell, at) => keyLiterals(cell, page.keys[at] ?? [], rows));
  const columns = written.map(({ at }) => literals(rows.map((row) => cells[at]?.[row])));
  const all = rows.map((_, i): SqlRow => ({
    key: keys.map((column) => column[i] ?? ''),
    cells: columns.map((column) => column[i] ?? 'NULL'),
  }));
  const kept = renewed.filter((name) => written.every(({ cell }) => cell.name !== name));
  return cut(all, longest).map((some) => {
    const set = written.map(({ cell }, i) => {
      const storage = cell.type.includes('CHARACTER SET') ? 'text' : 'binary';
      return `${cell.name} = ${valueSql(dataSource, table, some, { at: i, storage })}`;
    });
    return (
      `UPDATE ${table.name} SET ${[...set, ...kept.map((name) => `${name} = ${name}`)].join(', ')} ` +
      `WHERE ${isOneOf(table, some)}${andUsableSql(dataSource, used)}`
    );
  });
}

/** Cuts rows into lists of which each makes a statement that is short enough. */
function cut(rows: readonly SqlRow[], longest: number): SqlRow[][] {
  const parts: SqlRow[][] = [];
  let left = 0;
  for (const row of rows) {
    const length = lengthOf(row);
    if (length > left) {
      parts.push([]);
      left = longest;
    }
    left -= length;
    parts.at(-1)?.push(row);
  }
  return parts;
}

/** At most: the key is in the list and at the end of a tree for each cell, and may be inside of one. */
function lengthOf({ key, cells }: SqlRow): number {
  const length = (texts: readonly string[]): number =>
    texts.reduce((sum, text) => sum + text.length + 100, 0);
  return length(cells) + length(key) * (1 + 4 * cells.length);
}

function isOneOf({ keys }: WorkTable, rows: readonly SqlRow[]): string {
  const tuple = (columns: readonly string[]): string =>
    columns.length === 1 ? String(columns[0]) : `(${columns.join(', ')})`;
  return `${tuple(keys.map(({ name }) => name))} IN (${rows.map(({ key }) => tuple(key)).join(', ')})`;
}

/** Finds the new value of a row by halving the rows, which are in the order of their keys. */
function valueSql(
  dataSource: DataSource,
  { keys }: WorkTable,
  rows: readonly SqlRow[],
  { at, storage }: { readonly at: number; readonly storage: Storage },
): string {
  const none = dialectOf(dataSource).sql.fail(NO_ROW, storage);
  const among = (some: readonly SqlRow[]): string => {
    if (some.length <= LEAF_ROWS) {
      const cases = some.map(({ key, cells }) => {
        const isRow = keys.map(({ name }, i) => `${name} = ${String(key[i])}`);
        return `WHEN ${isRow.join(' AND ')} THEN ${String(cells[at])}`;
      });
      return `CASE ${cases.join(' ')} ELSE ${none} END`;
    }
    const middle = Math.ceil(some.length / 2);
    const isBefore = compared(keys, '<', (_, i) => String(some[middle]?.key[i]));
    return `IF(${isBefore}, ${among(some.slice(0, middle))}, ${among(some.slice(middle))})`;
  };
  return among(rows);
}

function keyLiterals(cell: WorkCell, keys: PageColumn, rows: readonly number[]): string[] {
  const column = keyColumn(cell);
  return rows.map((row) => {
    const key = keys[row];
    if (!isKeyText(key)) throw new TypeError(`${cell.name} (${cell.type}) has no text`);
    return column.literal(key);
  });
}

/** Writes the cells of a column in characters that need no escape: ciphertexts as they are, or all in digits. */
function literals(cells: readonly unknown[]): string[] {
  const texts = cells.filter((cell) => typeof cell === 'string');
  const isPlain = texts.every((text) => /^[\w-]*$/.test(text));
  return cells.map((cell) => {
    if (cell === null || cell === undefined) return 'NULL';
    if (Buffer.isBuffer(cell)) return `X'${cell.toString('hex')}'`;
    const text = typeof cell === 'string' ? cell : JSON.stringify(cell);
    if (isPlain) return `'${text}'`;
    return `CONVERT(X'${Buffer.from(text).toString('hex')}' USING utf8mb4)`;
  });
}
