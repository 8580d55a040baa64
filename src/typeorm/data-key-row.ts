import type { KeyPurpose, KeyRecord, KeySuite } from '../keys/key-record';
import type { KeyState } from '../keys/key-state';
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
function base64urlOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}

/** The rows that records were read from, which somebody may have written something else into. */
const rows = new WeakMap<KeyRecord, DataKeyRow>();

/** What a row has to hold still to be changed: as it was read, whatever it was. */
export function asStored(
  record: KeyRecord,
): Pick<DataKeyRow, 'id' | 'state' | 'epoch' | 'wrappedKey'> {
  return rows.get(record) ?? rowOf(record);
}

/**
 * The key record in a row. Whether the row was edited is for its MACs to find out, once the
 * key is unwrapped.
 */
export function recordOf(row: DataKeyRow): KeyRecord {
  const record = parsed(row);
  rows.set(record, row);
  return record;
}

/** SQLite keeps whatever is written into a column: what is of another type reads as nothing, 0 or no date. */
function parsed(row: DataKeyRow): KeyRecord {
  return {
    id: text(row.id),
    name: text(row.name),
    purpose: text(row.purpose) as KeyPurpose,
    version: wholeNumber(row.version),
    suite: text(row.suite) as KeySuite,
    state: text(row.state) as KeyState,
    kms: text(row.kms),
    kek: text(row.kek),
    wrapped: bytes(row.wrappedKey),
    recordMac: bytes(row.recordMac),
    stateMac: bytes(row.stateMac),
    createdAt: new Date(text(row.createdAt)),
    activatedAt: dateOf(row.activatedAt),
    deactivatedAt: dateOf(row.deactivatedAt),
    compromisedAt: dateOf(row.compromisedAt),
    destroyedAt: dateOf(row.destroyedAt),
    expiresAt: dateOf(row.expiresAt),
    owner: row.owner === null ? null : text(row.owner),
    securityLevel: row.securityLevel === null ? null : text(row.securityLevel),
    useCount: wholeNumber(Number(row.useCount)),
    epoch: wholeNumber(row.epoch),
    application: row.application === null ? null : text(row.application),
  };
}

type FixedColumn = 'id' | 'name' | 'purpose' | 'version' | 'suite' | 'createdAt' | 'useCount';

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function bytes(base64url: unknown): Buffer {
  return Buffer.from(text(base64url), 'base64url');
}

function wholeNumber(value: unknown): number {
  return isWholeNumber(value) ? value : 0;
}

/** What a column of whole numbers holds that this library has written. */
export function isWholeNumber(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** What somebody has made no date of in the row is none: a key must be revocable whatever the row says. */
function textOf(date: Date | null): string | null {
  return date === null || Number.isNaN(date.getTime()) ? null : date.toISOString();
}

function dateOf(date: string | null): Date | null {
  return date === null ? null : new Date(text(date));
}
