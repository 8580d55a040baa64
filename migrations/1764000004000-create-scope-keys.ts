import type { MigrationInterface, QueryRunner, TableOptions } from 'typeorm';

import {
  countRows,
  createUnlessPresent,
  dropTable,
  refusedRevert,
  tableName,
  text,
} from './own-table';

const SCOPE_KEYS = 'field_encryption_scope_keys';

/** Creates the table of the keys of scopes, wrapped by branch keys. */
export class CreateScopeKeys1764000004000 implements MigrationInterface {
  readonly name = 'CreateScopeKeys1764000004000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await createUnlessPresent(queryRunner, scopeKeys(tableName(queryRunner, SCOPE_KEYS)));
  }

  /** Refuses while there are keys: with them, all that they have encrypted would be lost. */
  async down(queryRunner: QueryRunner): Promise<void> {
    const name = tableName(queryRunner, SCOPE_KEYS);
    const keys = await countRows(queryRunner, name);
    if (keys > 0) {
      throw refusedRevert(
        queryRunner,
        `${SCOPE_KEYS} holds ${String(keys)} keys, without which their values cannot be read.`,
      );
    }
    await dropTable(queryRunner, name);
  }
}

function scopeKeys(name: string): TableOptions {
  return {
    name,
    columns: [
      {
        ...text('id', 16),
        isPrimary: true,
        primaryKeyConstraintName: 'field_encryption_scope_keys_pkey',
      },
      text('kind', 32),
      text('scope', 256),
      text('purpose', 16),
      { name: 'version', type: 'integer' },
      text('state', 16),
      text('suite', 32),
      text('branch_id', 16),
      text('since', 32),
      { name: 'sealed', type: 'text' },
      text('prefix', 12),
    ],
    indices: [
      {
        name: 'field_encryption_scope_keys_version',
        columnNames: ['kind', 'scope', 'purpose', 'version'],
        isUnique: true,
      },
      {
        name: 'field_encryption_scope_keys_one_current',
        columnNames: ['kind', 'scope', 'purpose'],
        isUnique: true,
        where: `"state" <> 'deactivated'`,
      },
      { name: 'field_encryption_scope_keys_branch', columnNames: ['branch_id'] },
      { name: 'field_encryption_scope_keys_prefix', columnNames: ['prefix', 'state'] },
    ],
  };
}
