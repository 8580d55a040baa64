import type { KeyPurpose, KeyRecord, KeySuite } from '../keys/key-record';
import type { DataKeyRow } from './data-key-table';

/** The row that stores a key record. */
export function rowOf(record: KeyRecord): DataKeyRow {
  const { id, name, purpose, version, suite, state, kms, kek } = record;
  return {
    id,
    name,
    purpose,
    version,
    suite,
    state,
    kms,
    kek,
    wrappedKey: Buffer.from(record.wrapped).toString('base64url'),
    recordMac: Buffer.from(record.recordMac).toString('base64url'),
    createdAt: record.createdAt.toISOString(),
    activatedAt: record.activatedAt?.toISOString() ?? null,
    deactivatedAt: record.deactivatedAt?.toISOString() ?? null,
  };
}

/**
 * The key record in a row. Whether the row was edited is for the record MAC to find out, once the
 * key is unwrapped.
 */
export function recordOf(row: DataKeyRow): KeyRecord {
  const { id, name, version, state, kms, kek } = row;
  return {
    id,
    name,
    purpose: row.purpose as KeyPurpose,
    version,
    suite: row.suite as KeySuite,
    state,
    kms,
    kek,
    wrapped: Buffer.from(row.wrappedKey, 'base64url'),
    recordMac: Buffer.from(row.recordMac, 'base64url'),
    createdAt: new Date(row.createdAt),
    activatedAt: dateOf(row.activatedAt),
    deactivatedAt: dateOf(row.deactivatedAt),
  };
}

function dateOf(text: string | null): Date | null {
  return text === null ? null : new Date(text);
}
