import type { DataSource, QueryRunner } from 'typeorm';

import type { KeyPurpose, KeyRecord, KeySuite } from '../../keys/record/key-record';
import type { KeyState } from '../../keys/record/key-state';
import type { KeyUpdate, MutableKeyFields } from '../../keys/store/key-store';
import { dialectOf } from '../dialect/dialect-of';

import { DataKeySchema } from './data-key-table';
import type { DataKeyRow } from './data-key-table';
import { insertUnlessPresent } from './insert-unless-present';
import { isWholeNumber, readBytes, readDate, readWholeNumber, StoredRow } from './stored-row';

/** Matches an epoch that cannot be read: SQLite keeps any value in the column, and may return it changed. */
function isUnreadableEpochSql(dataSource: DataSource): string {
  const integer = dialectOf(dataSource).sql.cast('epoch', 'integer');
  return `NOT (epoch = ${integer} AND epoch BETWEEN 0 AND ${String(Number.MAX_SAFE_INTEGER)})`;
}

/** Inserts the row of a key record. Returns whether it did: another process may have been first. */
export function insertKey(runner: QueryRunner, record: KeyRecord): Promise<boolean> {
  return insertUnlessPresent(runner, DataKeySchema, rowOf(record));
}

/** Updates the row of a key record if it still is as it was read. Returns whether it was. */
export async function updateKey(
  runner: QueryRunner,
  expected: KeyRecord,
  set: KeyUpdate,
): Promise<boolean> {
  const { id, state, epoch, wrappedKey } = asStored(expected);
  const changed = { ...expected, ...set };
  const { affected } = await runner.manager
    .createQueryBuilder()
    .update(DataKeySchema)
    .set(mutableColumnsOf(changed))
    .where('id = :id AND state = :state AND wrapped_key = :wrappedKey', { id, state, wrappedKey })
    .andWhere(isWholeNumber(epoch) ? 'epoch = :epoch' : isUnreadableEpochSql(runner.connection), {
      epoch,
    })
    .callListeners(false)
    .execute();
  const isInUse = changed.state === 'active' || changed.state === 'preActive';
  return affected === 1 || (!isInUse && Number(affected) > 1);
}

/** Returns the row that stores a key record. */
function rowOf(record: KeyRecord): DataKeyRow {
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

type FixedColumn = 'id' | 'name' | 'purpose' | 'version' | 'suite' | 'createdAt' | 'useCount';

/** Returns the columns that store what may change of a key record. */
function mutableColumnsOf(record: MutableKeyFields): Omit<DataKeyRow, FixedColumn> {
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

function base64urlOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}

/** The rows that records were read from, which may hold what no record does. */
const rows = new WeakMap<KeyRecord, DataKeyRow>();

/** Returns what a row still has to hold to be changed, as it was read. */
function asStored(record: KeyRecord): Pick<DataKeyRow, 'id' | 'state' | 'epoch' | 'wrappedKey'> {
  const { id, state, epoch, wrapped } = record;
  return rows.get(record) ?? { id, state, epoch, wrappedKey: base64urlOf(wrapped) };
}

/** Returns the key record in a row. Its MACs show whether the row was edited, once the key is unwrapped. */
export function recordOf(row: DataKeyRow): KeyRecord {
  const record = parsed(row);
  rows.set(record, row);
  return record;
}

/** Reads unreadable cells as an empty value, 0 or no date, which no MAC covers. */
function parsed(row: DataKeyRow): KeyRecord {
  const stored = new StoredRow(DataKeySchema, row);
  const number = (property: keyof DataKeyRow): number => stored.cell(property, readWholeNumber, 0);
  const bytes = (property: keyof DataKeyRow): Uint8Array =>
    stored.cell(property, readBytes, Buffer.alloc(0));
  const dateOrNull = (property: keyof DataKeyRow): Date | null =>
    stored.nullable(property, readDate, null);
  const record = {
    id: stored.text('id'),
    name: stored.text('name'),
    purpose: stored.text('purpose') as KeyPurpose,
    version: number('version'),
    suite: stored.text('suite') as KeySuite,
    state: stored.text('state') as KeyState,
    kms: stored.text('kms'),
    kek: stored.text('kek'),
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
    application: stored.textOrNull('application'),
  };
  const unreadable = stored.unreadable.map(({ column }) => column);
  return {
    ...record,
    ...(unreadable.length === 0 ? {} : { unreadable }),
    // For information only.
    owner: stored.textOrNull('owner'),
    securityLevel: stored.textOrNull('securityLevel'),
    useCount: number('useCount'),
  };
}

function textOf(date: Date | null): string | null {
  return date?.toISOString() ?? null;
}
