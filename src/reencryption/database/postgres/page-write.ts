import type { DataSource } from 'typeorm';

import { dialectOf } from '../../../typeorm/dialect/dialect-of';
import { andUsableSql, writtenCells } from '../page-sql';
import type { PageStatement, WrittenCell } from '../page-sql';
import { keyToText, LEASE_MS, leaseKey } from '../row';
import type { Lease, PageChange, PageColumn, RowKey } from '../row';
import type { WorkCell, WorkTable } from '../work-table';

const TEXTS = ['text', 'character varying', 'bpchar'];

/** Milliseconds that a page waits for a row which the application has locked. */
const LOCK_WAIT_MS = 20;

/** How a page treats rows that the application has locked. */
export interface RowLocking {
  /** SQL that is evaluated with the lease, before a row is touched. */
  readonly onLease: string;
  /** SQL of the CTE `moved`, which writes the rows of the CTE `page` that are as they were read. */
  moved(table: WorkTable, written: readonly WrittenCell[]): string;
}

/**
 * Waits for the rows, but gives up before the server would look for a deadlock (`deadlock_timeout`),
 * and could end a transaction of the application.
 */
export const WAIT_FOR_LOCKED: RowLocking = {
  onLease: `set_config('lock_timeout', '${String(LOCK_WAIT_MS)}', true)`,
  moved: ({ name, keys }, written) =>
    `moved AS (UPDATE ${name} t SET ${assignments(written, 'page')} ` +
    `FROM page WHERE ${sameVersion(keys)} RETURNING 1)`,
};

/** Skips the rows. Locking the others first makes the statement half as expensive again. */
export const SKIP_LOCKED: RowLocking = {
  onLease: '1',
  moved: ({ name, keys }, written) =>
    `held AS (SELECT t.ctid AS at, ${written.map((_, i) => `page.n${String(i)}`).join(', ')} ` +
    `FROM ${name} t JOIN page ON ${sameVersion(keys)} FOR NO KEY UPDATE OF t SKIP LOCKED), ` +
    `moved AS (UPDATE ${name} t SET ${assignments(written, 'held')} ` +
    'FROM held WHERE t.ctid = held.at RETURNING 1)',
};

function assignments(written: readonly WrittenCell[], from: string): string {
  return written.map(({ cell }, i) => `${cell.name} = ${from}.n${String(i)}`).join(', ');
}

/** `xmin` differs in any other version of the row, even where another row has taken its place. */
function sameVersion(keys: readonly WorkCell[]): string {
  const sameKey = keys.map(({ name }, i) => `t.${name} = page.k${String(i)}`);
  return [...sameKey, 't.ctid = page.at', 't.xmin = page.by'].join(' AND ');
}

const HAS_LEASE = 'run_id = $1 AND pass = $2 AND seq = $3 AND fence = $4';

/** Returns the one statement that writes a page and moves its checkpoint, if the lease still holds. */
export function writePageSql(
  dataSource: DataSource,
  table: WorkTable,
  change: PageChange,
  lease: Lease,
  cursor: RowKey | undefined,
  locking: RowLocking,
): PageStatement {
  const written = writtenCells(table);
  const columns = parametersOf(table, written, change);
  const arrays = columns.map(({ type }, i) => `CAST($${String(i + 7)} AS ${type}[])`);
  return {
    sql:
      `WITH lease AS MATERIALIZED (SELECT ${locking.onLease} FROM ${lease.table} ` +
      `WHERE ${HAS_LEASE}${andUsableSql(dataSource, change.used)} FOR UPDATE), ` +
      `page AS (SELECT * FROM unnest(${arrays.join(', ')}) ` +
      `AS page(${columns.map(({ name }) => name).join(', ')}) WHERE EXISTS (SELECT 1 FROM lease)), ` +
      `${locking.moved(table, written)} ` +
      `UPDATE ${lease.table} SET cursor_key = COALESCE($5, cursor_key), ` +
      'changed = changed + (SELECT COUNT(*) FROM moved), ' +
      'lost = lost + $6 - (SELECT COUNT(*) FROM moved), ' +
      `lease_until = ${dialectOf(dataSource).sql.now} + ${String(LEASE_MS)} ` +
      `WHERE ${HAS_LEASE} RETURNING (SELECT COUNT(*) FROM moved) AS written`,
    values: [
      ...leaseKey(lease),
      keyToText(cursor),
      change.rows.length,
      ...columns.map(({ array }) => array),
    ],
  };
}

/** A column of the page as a parameter of the statement. */
interface Parameter {
  readonly name: string;
  readonly type: string;
  readonly array: string;
}

function parametersOf(
  { keys }: WorkTable,
  written: readonly WrittenCell[],
  { page, rows, cells }: PageChange,
): Parameter[] {
  const [at, by] = page.versions;
  const parameter = (name: string, type: string, column: PageColumn | undefined): Parameter => ({
    name,
    type,
    array: arrayLiteral(rows.map((row) => column?.[row])),
  });
  return [
    ...keys.map(({ type }, i) => parameter(`k${String(i)}`, type, page.keys[i])),
    parameter('at', 'tid', at),
    parameter('by', 'xid', by),
    ...written.map(({ cell, at: cellAt }, i) =>
      parameter(`n${String(i)}`, contentType(cell.type), cells[cellAt]),
    ),
  ];
}

/** Leaves it to the column to limit the length of a text: a cast would cut it. */
function contentType(type: string): string {
  return TEXTS.includes(type) ? 'text' : type;
}

/**
 * Writes an array of texts, bytes and NULLs as PostgreSQL reads it from text (section 8.15.2 of its
 * manual). One parameter for each column is several times as fast as the driver's encoding of arrays.
 */
function arrayLiteral(values: readonly unknown[]): string {
  return `{${plainTexts(values) ?? values.map(element).join(',')}}`;
}

/** Quotes all texts at once, by JSON, if none of them needs an escape, as is true of keys. */
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
