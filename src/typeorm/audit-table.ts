import { EntitySchema } from 'typeorm';

/** A row of the audit log; every column is text or a number, so that all databases store it alike. */
export interface AuditRow {
  seq: number;
  /** ISO 8601, UTC */
  time: string;
  actor: string;
  operation: string;
  outcome: string;
  keyId: string | null;
  keyName: string | null;
  keyPurpose: string | null;
  keyVersion: number | null;
  keyState: string | null;
  kms: string | null;
  kek: string | null;
  reference: string | null;
  /** JSON object of whole numbers */
  counts: string;
  sealedBy: string;
  /** base64url */
  previousHash: string;
  /** base64url */
  hash: string;
}

/** Name of the migration in `fieldEncryptionMigrations` that creates the table. */
export const AUDIT_TABLE_MIGRATION = 'CreateAuditLog1764000002000';

/**
 * The table of the audit log as TypeORM knows it. What is written here must equal what the migrations
 * create, or `migration:generate` would find a difference.
 */
export const AuditSchema = new EntitySchema<AuditRow>({
  name: 'FieldEncryptionAudit',
  tableName: 'field_encryption_audit',
  columns: {
    seq: {
      type: 'integer',
      name: 'seq',
      primary: true,
      primaryKeyConstraintName: 'field_encryption_audit_pkey',
    },
    time: { type: 'varchar', length: 32, name: 'time' },
    actor: { type: 'varchar', length: 256, name: 'actor' },
    operation: { type: 'varchar', length: 32, name: 'operation' },
    outcome: { type: 'varchar', length: 16, name: 'outcome' },
    keyId: { type: 'varchar', length: 16, name: 'key_id', nullable: true },
    keyName: { type: 'varchar', length: 64, name: 'key_name', nullable: true },
    keyPurpose: { type: 'varchar', length: 16, name: 'key_purpose', nullable: true },
    keyVersion: { type: 'integer', name: 'key_version', nullable: true },
    keyState: { type: 'varchar', length: 16, name: 'key_state', nullable: true },
    kms: { type: 'varchar', length: 64, name: 'kms', nullable: true },
    kek: { type: 'varchar', length: 512, name: 'kek', nullable: true },
    reference: { type: 'varchar', length: 64, name: 'reference', nullable: true },
    counts: { type: 'text', name: 'counts' },
    sealedBy: { type: 'varchar', length: 16, name: 'sealed_by' },
    previousHash: { type: 'varchar', length: 64, name: 'previous_hash' },
    hash: { type: 'varchar', length: 64, name: 'hash' },
  },
});
