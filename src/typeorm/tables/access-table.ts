import { EntitySchema } from 'typeorm';

/** A row of the access log. */
export interface AccessRow {
  writer: string;
  seq: number;
  /** ISO 8601, UTC */
  time: string;
  actor: string | null;
  operation: string;
  entity: string;
  property: string;
  /** Drivers return a bigint as text. */
  values: number | string;
  /** JSON array of text */
  primaryKey: string | null;
  reason: string | null;
  sealedBy: string;
  /** base64url */
  previousMac: string;
  /** base64url */
  mac: string;
}

/** Name of the migration in `fieldEncryptionMigrations` that creates the table. */
export const ACCESS_TABLE_MIGRATION = 'CreateAccessLog1764000006000';

const KEY = { primary: true, primaryKeyConstraintName: 'field_encryption_access_pkey' } as const;

/** The table of the access log as TypeORM knows it. Must equal what the migration creates, as for the key table. */
export const AccessSchema = new EntitySchema<AccessRow>({
  name: 'FieldEncryptionAccess',
  tableName: 'field_encryption_access',
  columns: {
    writer: { type: 'varchar', length: 16, name: 'writer', ...KEY },
    seq: { type: 'integer', name: 'seq', ...KEY },
    time: { type: 'varchar', length: 32, name: 'time' },
    actor: { type: 'varchar', length: 256, name: 'actor', nullable: true },
    operation: { type: 'varchar', length: 16, name: 'operation' },
    entity: { type: 'text', name: 'entity' },
    property: { type: 'text', name: 'property' },
    values: { type: 'bigint', name: 'value_count' },
    primaryKey: { type: 'text', name: 'primary_key', nullable: true },
    reason: { type: 'varchar', length: 64, name: 'reason', nullable: true },
    sealedBy: { type: 'varchar', length: 16, name: 'sealed_by' },
    previousMac: { type: 'varchar', length: 64, name: 'previous_mac' },
    mac: { type: 'varchar', length: 64, name: 'mac' },
  },
  indices: [{ name: 'field_encryption_access_time', columns: ['time'] }],
});
