import type { UsedKeys } from '../../keys/cache/used-keys';

/** A primary key as a run keeps it: as text where the database can cast it, so that no digit is lost. */
export type RowKey = readonly unknown[];

/** Rows from `after`, exclusive, to `until`, inclusive, in order of the primary key. */
export interface PageRequest {
  readonly after: RowKey | undefined;
  readonly until: RowKey | undefined;
  /** SQL that rows have to meet; empty for all. */
  readonly condition: string;
  readonly limit: number;
}

/** Writes a checkpoint as JSON, with bytes as base64; `null` if there is none. */
export function keyToText(key: RowKey | null | undefined): string | null {
  if (key === null || key === undefined) return null;
  return JSON.stringify(key, (_, value: unknown) =>
    isBufferJson(value) ? { bytes: Buffer.from(value.data).toString('base64') } : value,
  );
}

/** @throws SyntaxError or TypeError for a text that is not a checkpoint */
export function keyFromText(text: string): RowKey {
  const key: unknown = JSON.parse(text, (_, value: unknown) =>
    isBytes(value) ? Buffer.from(value.bytes, 'base64') : value,
  );
  if (Array.isArray(key) && key.every(isKeyValue)) return key;
  throw new TypeError('it is no primary key');
}

/** The error for a checkpoint of another primary key. */
export function wrongLength(columns: number): TypeError {
  return new TypeError(`it does not have the ${String(columns)} values of the primary key`);
}

function isBufferJson(value: unknown): value is { data: number[] } {
  return typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer';
}

function isBytes(value: unknown): value is { bytes: string } {
  return (
    typeof value === 'object' &&
    value !== null &&
    'bytes' in value &&
    typeof value.bytes === 'string'
  );
}

function isKeyValue(value: unknown): boolean {
  return typeof value === 'string' || Number.isFinite(value) || Buffer.isBuffer(value);
}

/** A token of a unique index that a row cannot have because another row has it. */
export interface WantedToken {
  /** Position of the token among the cells of the table. */
  readonly cell: number;
  readonly content: unknown;
  /** The other columns of the index, escaped. */
  readonly among: readonly string[];
  /** The row that cannot have it. */
  readonly wantedBy: RowKey;
}

/** Milliseconds that a lease lasts; every page renews it. */
export const LEASE_MS = 60_000;

/** A worker's claim to a range of rows, which expires unless renewed. */
export interface Lease {
  readonly runId: string;
  readonly pass: number;
  readonly seq: number;
  /** A fencing token: the next worker to take the range gets a higher one. */
  readonly fence: number;
  /** Primary key of the last row that is done, or the one before the first. */
  readonly after: RowKey | undefined;
  /** Primary key of the last row; `undefined` for the end of the table. */
  readonly until: RowKey | undefined;
  /** Escaped name of the table of ranges. */
  readonly table: string;
}

/** The values by which a lease is found, and which another worker's lease does not have. */
export function leaseKey({ runId, pass, seq, fence }: Lease): readonly unknown[] {
  return [runId, pass, seq, fence];
}

/** The values of one column in the rows of a page, in order. */
export type PageColumn = readonly unknown[];

/**
 * Rows as stored, column by column: with several pages under way, an object for each row would cost
 * the garbage collector more than all the rest of the run.
 */
export interface StoredPage {
  readonly rows: number;
  /** The columns of the primary key. */
  readonly keys: readonly PageColumn[];
  /** The cells that a run reads, in its order. */
  readonly cells: readonly PageColumn[];
  /** What tells this version of a row from later ones, where the database has such columns. */
  readonly versions: readonly PageColumn[];
}

/** Rows of a page to write, each only if it is still as it was read. */
export interface PageChange {
  readonly page: StoredPage;
  /** Positions of the rows in the page. */
  readonly rows: readonly number[];
  /** The keys that the new values were made with, checked once more just before writing. */
  readonly used: UsedKeys;
  /** The new cells, laid out as {@link StoredPage.cells}; meaningful in these rows only. */
  readonly cells: readonly PageColumn[];
}

/** Returns the primary key of one row. */
export function keyAt({ keys }: StoredPage, row: number): RowKey {
  return keys.map((column) => column[row]);
}

/** Returns the primary key of the last row; `undefined` if the page is empty. */
export function lastKey(page: StoredPage): RowKey | undefined {
  return page.rows === 0 ? undefined : keyAt(page, page.rows - 1);
}
