import type { DataSource } from 'typeorm';

import type { UsedKeys } from '../../keys/cache/used-keys';
import { fenceSql } from '../../typeorm/connection/key-fence';

import type { BoundCondition } from './bound-condition';
import type { PageRequest, RowKey, StoredPage, WantedToken } from './row';
import type { WorkCell, WorkTable } from './work-table';

/** A row as a driver returns it. */
export type RawRow = Readonly<Record<string, unknown>>;

/** The parts of a page's statements that differ between databases. */
export interface PageDialect {
  /** SQL that selects a column of the primary key without losing digits. */
  key(cell: WorkCell): string;
  /** The parameter with this number, from 1. */
  parameter(number: number): string;
  /** A {@link PageDialect.parameter} for comparison with a column of the primary key. */
  bound(number: number, cell: WorkCell): string;
  /** Compares the primary key with another one. Each call of `bound` adds a parameter. */
  compared(keys: readonly WorkCell[], operator: KeyOperator, bound: BoundKey): string;
  /** SQL that tells one version of a row from another, by its name in a page. */
  readonly version: Readonly<Record<string, string>>;
}

export type KeyOperator = '<' | '<=' | '>';

/** Returns SQL for the value that a column of the primary key is compared with. */
export type BoundKey = (cell: WorkCell, at: number) => string;

/** Compares rows of columns, in databases that look these up by an index. */
export const comparedAsRows: PageDialect['compared'] = (keys, operator, bound) =>
  `(${keys.map(({ name }) => name).join(', ')}) ${operator} (${keys.map(bound).join(', ')})`;

/** A statement with its parameters. */
export interface PageStatement {
  readonly sql: string;
  readonly values: readonly unknown[];
}

/** Selects a page in order of the primary key. */
export function pageSql(
  dialect: PageDialect,
  table: WorkTable,
  request: PageRequest,
): PageStatement {
  const selected = [
    ...keyColumns(dialect, table.keys),
    ...table.cells.map(({ name }, i) => `${name} AS ${cellName(i)}`),
    ...Object.entries(dialect.version).map(([name, sql]) => `${sql} AS ${name}`),
  ];
  return walk(dialect, table, selected, request, `LIMIT ${String(request.limit)}`);
}

/** Selects the primary key of the last row of a page, if the page is full. */
export function boundarySql(
  dialect: PageDialect,
  table: WorkTable,
  request: PageRequest,
): PageStatement {
  const selected = keyColumns(dialect, table.keys);
  return walk(dialect, table, selected, request, `LIMIT 1 OFFSET ${String(request.limit - 1)}`);
}

/** Counts the rows that the run is about, and those of them that meet a condition. */
export function countSql(
  dialect: PageDialect,
  { name, where }: WorkTable,
  condition: string,
): PageStatement {
  const counts = `COUNT(*) AS total, COUNT(CASE WHEN ${condition} THEN 1 END) AS pending`;
  const clause = where.sql === '' ? '' : ` WHERE ${boundSql(dialect, where)}`;
  return { sql: `SELECT ${counts} FROM ${name}${clause}`, values: where.values };
}

/** Returns a condition with parameters in the notation of the driver, which a statement begins with. */
function boundSql(dialect: PageDialect, { texts }: BoundCondition): string {
  const [first = '', ...rest] = texts;
  return `(${rest.reduce((sql, text, i) => `${sql}${dialect.parameter(i + 1)}${text}`, first)})`;
}

/** Selects the primary key of the row that holds a token of a unique index which another row wants. */
export function holderSql(
  dialect: PageDialect,
  table: WorkTable,
  { cell, content, among, wantedBy }: WantedToken,
): PageStatement {
  const { keys, name } = table;
  const selected = keyColumns(dialect, keys).join(', ');
  const holds = `${String(table.cells[cell]?.name)} = ${dialect.parameter(1)}`;
  const query = `SELECT ${selected} FROM ${name} WHERE ${holds}`;
  if (among.length === 0) return { sql: `${query} LIMIT 1`, values: [content] };
  const tuple = among.join(', ');
  const isWanting = keys.map((key, i) => `${key.name} = ${dialect.bound(i + 2, key)}`);
  const place = `(${tuple}) IN (SELECT ${tuple} FROM ${name} WHERE ${isWanting.join(' AND ')})`;
  return { sql: `${query} AND ${place} LIMIT 1`, values: [content, ...wantedBy] };
}

/** Reads the primary key from a row of these statements. */
export function keyOf({ keys }: WorkTable, row: RawRow): RowKey {
  return keys.map((_, i) => row[keyName(i)]);
}

function keyName(at: number): string {
  return `k${String(at)}`;
}

function cellName(at: number): string {
  return `c${String(at)}`;
}

/** Reads the rows of {@link pageSql}. */
export function pageOf(
  { version }: PageDialect,
  { keys, cells }: WorkTable,
  rows: readonly RawRow[],
): StoredPage {
  const column = (name: string): unknown[] => rows.map((row) => row[name]);
  return {
    rows: rows.length,
    keys: keys.map((_, i) => column(keyName(i))),
    cells: cells.map((_, i) => column(cellName(i))),
    versions: Object.keys(version).map(column),
  };
}

function walk(
  dialect: PageDialect,
  { name, keys, where }: WorkTable,
  selected: readonly string[],
  { after, until, condition }: PageRequest,
  limit: string,
): PageStatement {
  const values: unknown[] = [...where.values];
  // Qualified: a column may have the name that another one is selected by.
  const order = keys.map((key) => `${name}.${key.name}`).join(', ');
  const compared = (operator: KeyOperator, key: RowKey): string =>
    dialect.compared(keys, operator, (cell, at) => dialect.bound(values.push(key[at]), cell));
  const conditions = [
    ...(where.sql === '' ? [] : [boundSql(dialect, where)]),
    ...(after === undefined ? [] : [compared('>', after)]),
    ...(until === undefined ? [] : [compared('<=', until)]),
    ...(condition === '' ? [] : [`(${condition})`]),
  ];
  const clause = conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`;
  return {
    sql: `SELECT ${selected.join(', ')} FROM ${name}${clause} ORDER BY ${order} ${limit}`,
    values,
  };
}

function keyColumns(dialect: PageDialect, keys: readonly WorkCell[]): string[] {
  return keys.map((cell, i) => `${dialect.key(cell)} AS ${keyName(i)}`);
}

/** A cell that a run writes, and its position among the cells of its table. */
export interface WrittenCell {
  readonly cell: WorkCell;
  readonly at: number;
}

export function writtenCells({ cells }: WorkTable): WrittenCell[] {
  return cells.flatMap((cell, at) => (cell.written ? [{ cell, at }] : []));
}

/** SQL to follow a condition: that the keys a page was made with may still be used. */
export function andUsableSql(dataSource: DataSource, { usableUntil }: UsedKeys): string {
  if (!Number.isFinite(usableUntil)) return '';
  return ` AND ${fenceSql(dataSource, usableUntil, { sql: 'TRUE', type: 'boolean' })}`;
}
