import type { MigrationInterface, QueryRunner, TableOptions } from 'typeorm';

import { createUnlessPresent, dropEmptyLog, tableName, text } from './own-table';

const TABLE = 'field_encryption_access';

/** Creates the table of the access log. Later changes are migrations of their own. */
export class CreateAccessLog1764000006000 implements MigrationInterface {
  readonly name = 'CreateAccessLog1764000006000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await createUnlessPresent(queryRunner, accessLog(tableName(queryRunner, TABLE)));
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await dropEmptyLog(queryRunner, TABLE);
  }
}

function accessLog(name: string): TableOptions {
  const key = { isPrimary: true, primaryKeyConstraintName: 'field_encryption_access_pkey' };
  return {
    name,
    columns: [
      { ...text('writer', 16), ...key },
      { name: 'seq', type: 'integer', ...key },
      text('time', 32),
      { ...text('actor', 256), isNullable: true },
      text('operation', 16),
      { name: 'entity', type: 'text' },
      { name: 'property', type: 'text' },
      { name: 'value_count', type: 'bigint' },
      { name: 'primary_key', type: 'text', isNullable: true },
      { ...text('reason', 64), isNullable: true },
      text('sealed_by', 16),
      text('previous_mac', 64),
      text('mac', 64),
    ],
    indices: [{ name: 'field_encryption_access_time', columnNames: ['time'] }],
  };
}
