import { EntitySchema } from 'typeorm';

import type { ScopeKeyRecord } from '../../keys/record/scope-key-record';

/** A row of the table of scope keys. Every column is text or a number, as in the key table. */
export interface ScopeKeyRow extends Omit<
  ScopeKeyRecord,
  'since' | 'sealed' | 'suite' | 'unreadable'
> {
  suite: string;
  /** ISO 8601, UTC */
  since: string;
  /** base64url */
  sealed: string;
  /** The 12 characters with which values under a data key begin, for SQL: nothing but the id decides. */
  prefix: string;
}

/** Name of the migration in `fieldEncryptionMigrations` that creates the table. */
export const SCOPE_KEYS_MIGRATION = 'CreateScopeKeys1764000004000';

/** SQL for the state of a key `k` to those who ask for its values: an erased one may also have been deactivated. */
export const SCOPE_KEY_STATE_SQL = `CASE WHEN k.sealed = '' THEN 'erased' ELSE k.state END`;

/** The table of scope keys as TypeORM knows it. Must equal what the migration creates, as for the key table. */
export const ScopeKeySchema = new EntitySchema<ScopeKeyRow>({
  name: 'FieldEncryptionScopeKey',
  tableName: 'field_encryption_scope_keys',
  columns: {
    id: {
      ...{ type: 'varchar', length: 16, primary: true },
      primaryKeyConstraintName: 'field_encryption_scope_keys_pkey',
    },
    kind: { type: 'varchar', length: 32, name: 'kind' },
    scope: { type: 'varchar', length: 256, name: 'scope' },
    purpose: { type: 'varchar', length: 16, name: 'purpose' },
    version: { type: 'integer', name: 'version' },
    state: { type: 'varchar', length: 16, name: 'state' },
    suite: { type: 'varchar', length: 32, name: 'suite' },
    branchId: { type: 'varchar', length: 16, name: 'branch_id' },
    since: { type: 'varchar', length: 32, name: 'since' },
    sealed: { type: 'text', name: 'sealed' },
    prefix: { type: 'varchar', length: 12, name: 'prefix' },
  },
  indices: [
    {
      name: 'field_encryption_scope_keys_version',
      columns: ['kind', 'scope', 'purpose', 'version'],
      unique: true,
    },
    // Keeps two processes from making two keys of one scope, and anybody from making one for an erased scope.
    {
      name: 'field_encryption_scope_keys_one_current',
      columns: ['kind', 'scope', 'purpose'],
      unique: true,
      where: `"state" <> 'deactivated'`,
    },
    { name: 'field_encryption_scope_keys_branch', columns: ['branchId'] },
    { name: 'field_encryption_scope_keys_prefix', columns: ['prefix', 'state'] },
  ],
});
