import type { UsedKeys } from '../../keys/cache/used-keys';

/** A primary key as a run keeps it: text where the database can make it, so that no digit is lost. */
export type RowKey = readonly unknown[];

/** Rows from `after`, exclusive, to `until`, inclusive, in order of the primary key. */
export interface PageRequest {
  readonly after: RowKey | undefined;
  readonly until: RowKey | undefined;
  /** SQL that rows have to meet; empty for all. */
  readonly condition: string;
  readonly limit: number;
}

/** A checkpoint as JSON. Bytes, which a primary key may be, are kept as base64. */
export function keyToText(key: RowKey): string {
  return JSON.stringify(key, (_, value: unknown) =>
    isBufferJson(value) ? { bytes: Buffer.from(value.data).toString('base64') } : value,
  );
}

/** @throws SyntaxError or TypeError for a text that is no checkpoint */
export function keyFromText(text: string): RowKey {
  const key: unknown = JSON.parse(text, (_, value: unknown) =>
    isBytes(value) ? Buffer.from(value.bytes, 'base64') : value,
  );
  if (Array.isArray(key) && key.every(isKeyValue)) return key;
  throw new TypeError('it is no primary key');
}

/** For a checkpoint of another primary key. */
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

/** A token of a unique index that a row cannot have, since another row has it. */
export interface WantedToken {
  /** Where the token is among the cells of the table. */
  readonly cell: number;
  readonly content: unknown;
  /** The other columns of the index, escaped. */
  readonly among: readonly string[];
  /** The row that cannot have it. */
  readonly wantedBy: RowKey;
}

/** Milliseconds that a worker has a range for; every page renews it. */
export const LEASE_MS = 60_000;

/** A range of rows that this worker has, until it renews no more. */
export interface Lease {
  readonly runId: string;
  readonly pass: number;
  readonly seq: number;
  /** Another worker that takes the range over gets a higher one. */
  readonly fence: number;
  /** Primary key of the last row that is done, or the one before the first. */
  readonly after: RowKey | undefined;
  /** Primary key of the last row; `undefined` for the end of the table. */
  readonly until: RowKey | undefined;
  /** Escaped name of the table of ranges. */
  readonly table: string;
}

/** What one column of the table holds in the rows of a page, in their order. */
export type PageColumn = readonly unknown[];

/**
 * Rows as stored, column by column: several pages are under way at a time, and an object for each row
 * would cost the garbage collector more than all else that a run does with it.
 */
export interface StoredPage {
  readonly rows: number;
  /** The columns of the primary key. */
  readonly keys: readonly PageColumn[];
  /** The cells that a run reads, in its order. */
  readonly cells: readonly PageColumn[];
  /** What tells this version of a row from later ones, where the database has such a thing. */
  readonly versions: readonly PageColumn[];
}

/** Rows of a page that are to be written, each if it is still as it was read. */
export interface PageChange {
  readonly page: StoredPage;
  /** Which of them. */
  readonly rows: readonly number[];
  /** The keys that what is to be written was made with, to be asked once more just before it is. */
  readonly used: UsedKeys;
  /** What the cells are to hold, like {@link StoredPage.cells}; of interest in these rows only. */
  readonly cells: readonly PageColumn[];
}

/** Primary key of one row. */
export function keyAt({ keys }: StoredPage, row: number): RowKey {
  return keys.map((column) => column[row]);
}

/** Primary key of the last row; `undefined` when there is none. */
export function lastKey(page: StoredPage): RowKey | undefined {
  return page.rows === 0 ? undefined : keyAt(page, page.rows - 1);
}
