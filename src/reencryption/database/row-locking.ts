import type { WorkCell, WorkTable } from '../work-table';

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
