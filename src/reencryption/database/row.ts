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
