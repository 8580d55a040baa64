import type { MigrationInterface, QueryRunner } from 'typeorm';

import {
  countRows,
  createUnlessPresent,
  dropTable,
  refusedRevert,
  tableName,
  text,
} from './own-table';

const TABLE = 'data_keys';

/** Creates the key table. Later changes are migrations of their own. */
export class CreateDataKeys1764000000000 implements MigrationInterface {
  readonly name = 'CreateDataKeys1764000000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    const table = tableName(queryRunner, TABLE);
    await createUnlessPresent(queryRunner, {
      name: table,
      columns: [
        { ...text('id', 16), isPrimary: true, primaryKeyConstraintName: 'data_keys_pkey' },
        text('name', 64),
        text('purpose', 16),
        { name: 'version', type: 'integer' },
        text('suite', 32),
        text('state', 16),
        text('kms', 64),
        text('kek', 512),
        { name: 'wrapped_key', type: 'text' },
        text('record_mac', 64),
        text('state_mac', 64),
        text('created_at', 32),
        { ...text('activated_at', 32), isNullable: true },
        { ...text('deactivated_at', 32), isNullable: true },
        { ...text('compromised_at', 32), isNullable: true },
        { ...text('destroyed_at', 32), isNullable: true },
        { ...text('expires_at', 32), isNullable: true },
        { ...text('owner', 128), isNullable: true },
        { ...text('security_level', 32), isNullable: true },
        { name: 'use_count', type: 'bigint' },
      ],
      indices: [
        {
          name: 'data_keys_version',
          columnNames: ['purpose', 'name', 'version'],
          isUnique: true,
        },
        {
          name: 'data_keys_state',
          columnNames: ['state', 'purpose', 'name'],
        },
        {
          name: 'data_keys_one_active',
          columnNames: ['purpose', 'name'],
          isUnique: true,
          where: `"state" = 'active'`,
        },
      ],
    });
  }

  /** Refuses while there are keys: without them, nothing that they encrypted can ever be read again. */
  async down(queryRunner: QueryRunner): Promise<void> {
    const table = tableName(queryRunner, TABLE);
    const keys = await countRows(queryRunner, table);
    if (keys > 0) {
      throw refusedRevert(
        queryRunner,
        `${table} holds ${String(keys)} keys. Back them up and empty the table before you revert: ` +
          'what they encrypted cannot be read without them.',
      );
    }
    await dropTable(queryRunner, table);
  }
}
