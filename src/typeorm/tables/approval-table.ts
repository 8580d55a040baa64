import { EntitySchema } from 'typeorm';

import type { ApprovalRow } from '../../approvals/approval-store';

/** A row of the table of approvals. Every column is text or a number, as in the key table. */
export interface StoredApproval extends Omit<ApprovalRow, 'signatures'> {
  /** JSON array of texts. */
  signatures: string;
}

/** Name of the migration in `fieldEncryptionMigrations` that creates the table. */
export const APPROVALS_MIGRATION = 'CreateApprovals1764000007000';

/** The table of approvals as TypeORM knows it. Must equal what the migration creates, as for the key table. */
export const ApprovalSchema = new EntitySchema<StoredApproval>({
  name: 'FieldEncryptionApproval',
  tableName: 'field_encryption_approvals',
  columns: {
    id: {
      ...{ type: 'varchar', length: 32, primary: true },
      primaryKeyConstraintName: 'field_encryption_approvals_pkey',
    },
    subject: { type: 'varchar', length: 32, name: 'subject' },
    document: { type: 'text', name: 'document' },
    signatures: { type: 'text', name: 'signatures' },
    usedBy: { type: 'varchar', length: 36, name: 'used_by', nullable: true },
    version: { type: 'integer', name: 'version', nullable: true },
    createdAt: { type: 'varchar', length: 32, name: 'created_at' },
  },
  indices: [
    // One next version of the policy; requests of other operations have none.
    { name: 'field_encryption_approvals_version', columns: ['version'], unique: true },
  ],
});
