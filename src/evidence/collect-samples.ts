import type { QueryRunner } from 'typeorm';

import { FieldEncryptionError } from '../errors';
import type { Installation } from '../typeorm/installation/installation';
import { sampleSql } from '../typeorm/installation/stored-samples';
import { noteUse } from '../typeorm/installation/value-use';
import { keyPrefixOf, scopeOfValue } from '../typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from '../typeorm/metadata/encrypted-column';
import { selectAllRows } from '../typeorm/tables/all-rows';

import type { TableColumn } from './collect-columns';
import type { SampleEvidence } from './column-evidence';

/** A stored row, by the names of its columns. */
type Row = Readonly<Record<string, unknown>>;

/** Rows that were read and not decrypted yet. */
export interface ReadSample {
  readonly encrypted: EncryptedColumn;
  readonly sql: readonly string[];
  readonly rows: readonly Row[];
}

/** A plaintext of fewer bytes occurs by chance. */
const SOUGHT_BYTES = 6;

/** Reads whole rows that have a value in a column, half of them from either end of the table. */
export async function readSample(
  runner: QueryRunner,
  { table: { metadata }, encrypted }: TableColumn,
  samples: number,
): Promise<ReadSample> {
  const sql =
    samples === 0 ? [] : sampleSql(runner, metadata, encrypted, Math.ceil(samples / 2), '*');
  const rows = new Map<string, Row>();
  for (const statement of sql) {
    for (const row of await selectAllRows<Row>(runner, metadata, statement)) {
      const key = metadata.primaryColumns.map(({ databaseName }) => String(row[databaseName]));
      rows.set(JSON.stringify(key), row);
    }
  }
  return { encrypted, sql, rows: [...rows.values()] };
}

/**
 * Verifies sampled values, and seeks their plaintexts in their rows. Counts them as reads; holds no connection, so
 * that the KMS may be waited for.
 */
export async function sampleEvidence(
  installation: Installation,
  { encrypted, sql, rows }: ReadSample,
): Promise<SampleEvidence> {
  const failures: Record<string, number> = {};
  const readableIn: Record<string, number> = {};
  const counts = { verified: 0, sought: 0 };
  const stored = (row: Row): unknown => row[encrypted.column.databaseName];
  const fail = (error: unknown, values: number): void => {
    if (!(error instanceof FieldEncryptionError)) throw error;
    failures[error.code] = (failures[error.code] ?? 0) + values;
  };
  try {
    noteUse(installation, encrypted, 'decrypt', () => rows.length);
    await installation.loadKeys(rows.flatMap((row) => keyPrefixOf(encrypted, stored(row)) ?? []));
    for (const row of rows) {
      try {
        const forms = formsOf(decrypted(installation, encrypted, row, stored(row)));
        counts.verified += 1;
        if (forms === undefined) continue;
        counts.sought += 1;
        for (const [column, cell] of Object.entries(row)) {
          if (holds(cell, forms)) readableIn[column] = (readableIn[column] ?? 0) + 1;
        }
      } catch (error) {
        fail(error, 1);
      }
    }
  } catch (error) {
    fail(error, rows.length);
  }
  return { sql, values: rows.length, ...counts, failures, readableIn };
}

function decrypted(
  { keys }: Installation,
  encrypted: EncryptedColumn,
  row: Row,
  stored: unknown,
): unknown {
  const { binding, cipher, scope } = encrypted;
  const known = { value: (column: { databaseName: string }) => row[column.databaseName] };
  const scopeId = scope?.ofRead(known, scopeOfValue(keys, encrypted, stored));
  const context = binding?.contextOf((i) => row[binding.columns[i]?.databaseName ?? ''], scopeId);
  return cipher.decrypt(stored, context);
}

/** Returns the forms in which a plaintext may be stored, in lower case; undefined for a short one. */
function formsOf(value: unknown): readonly string[] | undefined {
  const bytes = value instanceof Uint8Array ? Buffer.from(value) : Buffer.from(textOf(value));
  if (bytes.length < SOUGHT_BYTES) return undefined;
  const forms = (['utf8', 'hex', 'base64', 'base64url'] as const).map((form) =>
    bytes.toString(form).toLowerCase(),
  );
  return forms.filter((form, i) => i > 0 || !form.includes('\uFFFD'));
}

function holds(cell: unknown, forms: readonly string[]): boolean {
  const texts =
    cell instanceof Uint8Array
      ? [Buffer.from(cell).toString('utf8'), Buffer.from(cell).toString('hex')]
      : [textOf(cell)];
  return texts.some((text) => forms.some((form) => text.toLowerCase().includes(form)));
}

function textOf(value: unknown): string {
  if (value instanceof Date) return value.toISOString();
  return typeof value === 'string'
    ? value
    : typeof value === 'bigint'
      ? String(value)
      : JSON.stringify(value);
}
