import type { WorkCell, WorkTable } from './work-table';

import type { PageRequest, RowKey, StoredPage, WantedToken } from './row';

/** A row as a driver gives it. */
export type RawRow = Readonly<Record<string, unknown>>;

/** What the databases write differently in the statements that walk a table. */
export interface PageDialect {
  /** SQL for a column of the primary key, in a form that loses no digit. */
  key(cell: WorkCell): string;
  /** The parameter with this number, from 1. */
  parameter(number: number): string;
  /** {@link PageDialect.parameter} where it is compared with a column of the primary key. */
  bound(number: number, cell: WorkCell): string;
  /** SQL for what tells one version of a row from another, beside its cells, by its name in a page. */
  readonly version: Readonly<Record<string, string>>;
}

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

/** Selects the primary key of the last row of a page, where the page is full. */
export function boundarySql(
  dialect: PageDialect,
  table: WorkTable,
  request: PageRequest,
): PageStatement {
  const selected = keyColumns(dialect, table.keys);
  return walk(dialect, table, selected, request, `LIMIT 1 OFFSET ${String(request.limit - 1)}`);
}

/** Selects the primary key of the row that holds a unique token, in the tuple of the row that is to have it. */
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

/** The primary key in a row of these statements. */
export function keyOf({ keys }: WorkTable, row: RawRow): RowKey {
  return keys.map((_, i) => row[keyName(i)]);
}

/** Name of a column of the primary key in the rows of {@link pageSql}. */
function keyName(at: number): string {
  return `k${String(at)}`;
}

/** Name of a cell in the rows of {@link pageSql}. */
function cellName(at: number): string {
  return `c${String(at)}`;
}

/** The rows of {@link pageSql}. */
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
  { name, keys }: WorkTable,
  selected: readonly string[],
  { after, until, condition }: PageRequest,
  limit: string,
): PageStatement {
  const values: unknown[] = [];
  const columns = keys.map((key) => key.name).join(', ');
  const bound = (key: RowKey): string =>
    keys.map((cell, i) => dialect.bound(values.push(key[i]), cell)).join(', ');
  const conditions = [
    ...(after === undefined ? [] : [`(${columns}) > (${bound(after)})`]),
    ...(until === undefined ? [] : [`(${columns}) <= (${bound(until)})`]),
    ...(condition === '' ? [] : [`(${condition})`]),
  ];
  const where = conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`;
  return {
    sql: `SELECT ${selected.join(', ')} FROM ${name}${where} ORDER BY ${columns} ${limit}`,
    values,
  };
}

function keyColumns(dialect: PageDialect, keys: readonly WorkCell[]): string[] {
  return keys.map((cell, i) => `${dialect.key(cell)} AS ${keyName(i)}`);
}

/** Milliseconds that a page waits for a row which the application has locked. */
const LOCK_WAIT_MS = 20;

/** What a page does about rows that somebody has locked. */
export interface RowLocking {
  /** SQL that is evaluated with the lease, before a row is touched. */
  readonly onLease: string;
  /** SQL of the CTE `moved`, which writes the rows of the CTE `page` that are as they were read. */
  moved(table: WorkTable, written: readonly { readonly cell: WorkCell }[]): string;
}

/**
 * Waits, but gives the page up before the server would look for a deadlock (`deadlock_timeout`), let
 * alone end a transaction of the application's.
 */
export const HELD_FOR_A_MOMENT: RowLocking = {
  onLease: `set_config('lock_timeout', '${String(LOCK_WAIT_MS)}', true)`,
  moved: ({ name, keys }, written) =>
    `moved AS (UPDATE ${name} t SET ${assignments(written, 'page')} ` +
    `FROM page WHERE ${sameVersion(keys)} RETURNING 1)`,
};

/** Passes over them. Locking rows first costs half as much again. */
export const EXCEPT_LOCKED: RowLocking = {
  onLease: '1',
  moved: ({ name, keys }, written) =>
    `held AS (SELECT t.ctid AS at, ${written.map((_, i) => `page.n${String(i)}`).join(', ')} ` +
    `FROM ${name} t JOIN page ON ${sameVersion(keys)} FOR NO KEY UPDATE OF t SKIP LOCKED), ` +
    `moved AS (UPDATE ${name} t SET ${assignments(written, 'held')} ` +
    'FROM held WHERE t.ctid = held.at RETURNING 1)',
};

function assignments(written: readonly { readonly cell: WorkCell }[], from: string): string {
  return written.map(({ cell }, i) => `${cell.name} = ${from}.n${String(i)}`).join(', ');
}

/** `xmin` differs in any other version of the row, also where its place was given to another one. */
function sameVersion(keys: readonly WorkCell[]): string {
  const sameKey = keys.map(({ name }, i) => `t.${name} = page.k${String(i)}`);
  return [...sameKey, 't.ctid = page.at', 't.xmin = page.by'].join(' AND ');
}
