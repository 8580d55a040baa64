import type { MigrationInterface, QueryRunner } from 'typeorm';

import { createUnlessPresent, dropEmptyLog, tableName, text } from './own-table';

const TABLE = 'field_encryption_audit';

/** Creates the table of the audit log. Later changes are migrations of their own. */
export class CreateAuditLog1764000002000 implements MigrationInterface {
  readonly name = 'CreateAuditLog1764000002000';

  async up(queryRunner: QueryRunner): Promise<void> {
    const table = tableName(queryRunner, TABLE);
    const primaryKeyConstraintName = 'field_encryption_audit_pkey';
    await createUnlessPresent(queryRunner, {
      name: table,
      columns: [
        { name: 'seq', type: 'integer', isPrimary: true, primaryKeyConstraintName },
        text('time', 32),
        text('actor', 256),
        text('operation', 32),
        text('outcome', 16),
        { ...text('key_id', 16), isNullable: true },
        { ...text('key_name', 64), isNullable: true },
        { ...text('key_purpose', 16), isNullable: true },
        { name: 'key_version', type: 'integer', isNullable: true },
        { ...text('key_state', 16), isNullable: true },
        { ...text('kms', 64), isNullable: true },
        { ...text('kek', 512), isNullable: true },
        { ...text('reference', 64), isNullable: true },
        { name: 'counts', type: 'text' },
        text('sealed_by', 16),
        text('previous_hash', 64),
        text('hash', 64),
      ],
    });
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await dropEmptyLog(queryRunner, TABLE);
  }
}
