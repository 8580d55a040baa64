import { EntitySchema } from 'typeorm';
import type { QueryRunner } from 'typeorm';

import type { KeyState } from '../../keys/record/key-state';

/** A row of the key table. Every column is text or a number, so that all databases store it alike. */
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
  /** A bigint, which some drivers return as text. */
  useCount: number | string;
  epoch: number;
  application: string | null;
}

/** Name of the migration in `fieldEncryptionMigrations` that creates the table. */
export const KEY_TABLE_MIGRATION = 'CreateDataKeys1764000000000';
/** Name of the migration that adds the columns `epoch` and `application` to an older table. */
export const KEY_EPOCHS_MIGRATION = 'AddKeyEpochs1764000003000';
const DATA_KEYS_TABLE = 'data_keys';
/** Keeps two processes from making two active keys of one name. */
const ONE_ACTIVE_INDEX = 'data_keys_one_active';
const VERSION_INDEX = 'data_keys_version';
/** Finds the keys in use among thousands that only decrypt. */
const STATE_INDEX = 'data_keys_state';
const ONE_ACTIVE_CONDITION = `"state" = 'active'`;

/** Columns that were added after the table was created. */
const ADDED_COLUMNS = ['epoch', 'application'];

/** The key table as TypeORM knows it. Must equal what the migrations create, or `migration:generate` finds a difference. */
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

/** Returns the columns that a key table from an earlier version lacks. */
export async function missingKeyColumns(runner: QueryRunner): Promise<string[]> {
  const { tablePath } = runner.connection.getMetadata(DataKeySchema);
  const missing: string[] = [];
  for (const column of ADDED_COLUMNS) {
    if (!(await runner.hasColumn(tablePath, column))) missing.push(column);
  }
  return missing;
}
