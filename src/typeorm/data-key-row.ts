import type { KeyPurpose, KeyRecord, KeySuite } from '../keys/key-record';
import type { MutableKeyFields } from '../keys/key-store';
import type { DataKeyRow } from './data-key-table';

/** The row that stores a key record. */
export function rowOf(record: KeyRecord): DataKeyRow {
  const { id, name, purpose, version, suite } = record;
  return {
    id,
    name,
    purpose,
    version,
    suite,
    createdAt: record.createdAt.toISOString(),
    useCount: record.useCount,
    ...mutableColumnsOf(record),
  };
}

/** The columns that store what may change of a key record. */
export function mutableColumnsOf(record: MutableKeyFields): Omit<DataKeyRow, FixedColumn> {
  const { state, kms, kek, owner, securityLevel } = record;
  return {
    state,
    kms,
    kek,
    owner,
    securityLevel,
    wrappedKey: base64urlOf(record.wrapped),
    recordMac: base64urlOf(record.recordMac),
    stateMac: base64urlOf(record.stateMac),
    activatedAt: textOf(record.activatedAt),
    deactivatedAt: textOf(record.deactivatedAt),
    compromisedAt: textOf(record.compromisedAt),
    destroyedAt: textOf(record.destroyedAt),
    expiresAt: textOf(record.expiresAt),
    epoch: record.epoch,
    application: record.application,
  };
}

/** How the `wrappedKey` column stores bytes. */
export function base64urlOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}

/**
 * The key record in a row. Whether the row was edited is for its MACs to find out, once the
 * key is unwrapped.
 */
export function recordOf(row: DataKeyRow): KeyRecord {
  const { id, name, version, state, kms, kek, owner, securityLevel } = row;
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
    stateMac: Buffer.from(row.stateMac, 'base64url'),
    createdAt: new Date(row.createdAt),
    activatedAt: dateOf(row.activatedAt),
    deactivatedAt: dateOf(row.deactivatedAt),
    compromisedAt: dateOf(row.compromisedAt),
    destroyedAt: dateOf(row.destroyedAt),
    expiresAt: dateOf(row.expiresAt),
    owner,
    securityLevel,
    useCount: Number(row.useCount),
    epoch: epochOf(row.epoch),
    application: row.application,
  };
}

type FixedColumn = 'id' | 'name' | 'purpose' | 'version' | 'suite' | 'createdAt' | 'useCount';

/** SQLite keeps whatever is written into the column. */
function epochOf(epoch: unknown): number {
  return Number.isSafeInteger(epoch) ? Number(epoch) : 0;
}

/** What somebody has made no date of in the row is none: a key must be revocable whatever the row says. */
function textOf(date: Date | null): string | null {
  return date === null || Number.isNaN(date.getTime()) ? null : date.toISOString();
}

function dateOf(text: string | null): Date | null {
  return text === null ? null : new Date(text);
}
