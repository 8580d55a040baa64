import type { KeyPurpose, KeyRecord, KeySuite } from '../keys/key-record';
import type { KeyState } from '../keys/key-state';
import type { MutableKeyFields } from '../keys/key-store';
import { DataKeySchema } from './data-key-table';
import type { DataKeyRow } from './data-key-table';
import { readBytes, readDate, readText, readWholeNumber, StoredRow } from './stored-row';

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
  const { id, state, epoch, wrapped } = record;
  return rows.get(record) ?? { id, state, epoch, wrappedKey: base64urlOf(wrapped) };
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

/** What cannot be read stands as nothing, 0 or no date, which no MAC is over. */
function parsed(row: DataKeyRow): KeyRecord {
  const stored = new StoredRow(DataKeySchema, row);
  const text = (property: keyof DataKeyRow): string => stored.cell(property, readText, '');
  const textOrNull = (property: keyof DataKeyRow): string | null =>
    stored.nullable(property, readText, '');
  const number = (property: keyof DataKeyRow): number => stored.cell(property, readWholeNumber, 0);
  const bytes = (property: keyof DataKeyRow): Uint8Array =>
    stored.cell(property, readBytes, Buffer.alloc(0));
  const dateOrNull = (property: keyof DataKeyRow): Date | null =>
    stored.nullable(property, readDate, null);
  const record = {
    id: text('id'),
    name: text('name'),
    purpose: text('purpose') as KeyPurpose,
    version: number('version'),
    suite: text('suite') as KeySuite,
    state: text('state') as KeyState,
    kms: text('kms'),
    kek: text('kek'),
    wrapped: bytes('wrappedKey'),
    recordMac: bytes('recordMac'),
    stateMac: bytes('stateMac'),
    createdAt: stored.cell('createdAt', readDate, new Date(Number.NaN)),
    activatedAt: dateOrNull('activatedAt'),
    deactivatedAt: dateOrNull('deactivatedAt'),
    compromisedAt: dateOrNull('compromisedAt'),
    destroyedAt: dateOrNull('destroyedAt'),
    expiresAt: dateOrNull('expiresAt'),
    epoch: number('epoch'),
    application: textOrNull('application'),
  };
  const unreadable = stored.unreadable.map(({ column }) => column);
  return {
    ...record,
    ...(unreadable.length === 0 ? {} : { unreadable }),
    // For people, and nothing goes by them.
    owner: textOrNull('owner'),
    securityLevel: textOrNull('securityLevel'),
    useCount: number('useCount'),
  };
}

type FixedColumn = 'id' | 'name' | 'purpose' | 'version' | 'suite' | 'createdAt' | 'useCount';

function textOf(date: Date | null): string | null {
  return date?.toISOString() ?? null;
}
