import { EntitySchema } from 'typeorm';
import type { QueryRunner } from 'typeorm';

import type { KeyPurpose, KeyRecord, KeySuite } from '../../keys/record/key-record';
import type { KeyState } from '../../keys/record/key-state';
import type { MutableKeyFields } from '../../keys/store/key-store';

import { readBytes, readDate, readText, readWholeNumber, StoredRow } from './stored-row';

/** A row of the key table; every column is text or a number, so that all databases store it alike. */
export interface DataKeyRow {
  id: string;
  name: string;
  purpose: string;
  version: number;
  suite: string;
  state: KeyState;
  kms: string;
  kek: string;
  /** base64url */
  wrappedKey: string;
  /** base64url */
  recordMac: string;
  /** base64url; empty in the states that need no proof */
  stateMac: string;
  /** ISO 8601, UTC */
  createdAt: string;
  activatedAt: string | null;
  deactivatedAt: string | null;
  compromisedAt: string | null;
  destroyedAt: string | null;
  expiresAt: string | null;
  owner: string | null;
  securityLevel: string | null;
  /** A bigint, which some drivers give as text. */
  useCount: number | string;
  epoch: number;
  application: string | null;
}

/** Name of the migration in `fieldEncryptionMigrations` that creates the table. */
export const KEY_TABLE_MIGRATION = 'CreateDataKeys1764000000000';
/** Name of the migration that adds the columns `epoch` and `application` to a table from before them. */
export const KEY_EPOCHS_MIGRATION = 'AddKeyEpochs1764000003000';
const DATA_KEYS_TABLE = 'data_keys';
/** Holds two processes to one active key a name. */
const ONE_ACTIVE_INDEX = 'data_keys_one_active';
const VERSION_INDEX = 'data_keys_version';
/** Finds the keys in use among thousands that only read. */
const STATE_INDEX = 'data_keys_state';
const ONE_ACTIVE_CONDITION = `"state" = 'active'`;

/** Columns that came after the table. */
const ADDED_COLUMNS = ['epoch', 'application'];

/**
 * The key table as TypeORM knows it. What is written here must equal what the migrations create, or
 * `migration:generate` would find a difference.
 */
export const DataKeySchema = new EntitySchema<DataKeyRow>({
  name: 'FieldEncryptionDataKey',
  tableName: DATA_KEYS_TABLE,
  columns: {
    id: { type: 'varchar', length: 16, primary: true, primaryKeyConstraintName: 'data_keys_pkey' },
    name: { type: 'varchar', length: 64, name: 'name' },
    purpose: { type: 'varchar', length: 16, name: 'purpose' },
    version: { type: 'integer', name: 'version' },
    suite: { type: 'varchar', length: 32, name: 'suite' },
    state: { type: 'varchar', length: 16, name: 'state' },
    kms: { type: 'varchar', length: 64, name: 'kms' },
    kek: { type: 'varchar', length: 512, name: 'kek' },
    wrappedKey: { type: 'text', name: 'wrapped_key' },
    recordMac: { type: 'varchar', length: 64, name: 'record_mac' },
    stateMac: { type: 'varchar', length: 64, name: 'state_mac' },
    createdAt: { type: 'varchar', length: 32, name: 'created_at' },
    activatedAt: { type: 'varchar', length: 32, name: 'activated_at', nullable: true },
    deactivatedAt: { type: 'varchar', length: 32, name: 'deactivated_at', nullable: true },
    compromisedAt: { type: 'varchar', length: 32, name: 'compromised_at', nullable: true },
    destroyedAt: { type: 'varchar', length: 32, name: 'destroyed_at', nullable: true },
    expiresAt: { type: 'varchar', length: 32, name: 'expires_at', nullable: true },
    owner: { type: 'varchar', length: 128, name: 'owner', nullable: true },
    securityLevel: { type: 'varchar', length: 32, name: 'security_level', nullable: true },
    useCount: { type: 'bigint', name: 'use_count' },
    epoch: { type: 'integer', name: 'epoch', default: 0 },
    application: { type: 'varchar', length: 128, name: 'application', nullable: true },
  },
  indices: [
    { name: VERSION_INDEX, columns: ['purpose', 'name', 'version'], unique: true },
    { name: STATE_INDEX, columns: ['state', 'purpose', 'name'] },
    {
      name: ONE_ACTIVE_INDEX,
      columns: ['purpose', 'name'],
      unique: true,
      where: ONE_ACTIVE_CONDITION,
    },
  ],
});

/** Which columns a key table from an earlier version does not have. */
export async function missingKeyColumns(runner: QueryRunner): Promise<string[]> {
  const { tablePath } = runner.connection.getMetadata(DataKeySchema);
  const missing: string[] = [];
  for (const column of ADDED_COLUMNS) {
    if (!(await runner.hasColumn(tablePath, column))) missing.push(column);
  }
  return missing;
}

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
