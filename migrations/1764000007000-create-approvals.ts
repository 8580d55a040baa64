import type { MigrationInterface, QueryRunner, TableOptions } from 'typeorm';

import {
  countRows,
  createUnlessPresent,
  dropTable,
  refusedRevert,
  tableName,
  text,
} from './own-table';

const APPROVALS = 'field_encryption_approvals';

/** Creates the table of approvals: the versions of their policy, and the requests. */
export class CreateApprovals1764000007000 implements MigrationInterface {
  readonly name = 'CreateApprovals1764000007000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await createUnlessPresent(queryRunner, approvals(tableName(queryRunner, APPROVALS)));
  }

  /** Refuses while there is a policy: without it, one person alone could do what takes several. */
  async down(queryRunner: QueryRunner): Promise<void> {
    const name = tableName(queryRunner, APPROVALS);
    const versions = await countRows(queryRunner, name, 't.version IS NOT NULL');
    if (versions > 0) {
      throw refusedRevert(
        queryRunner,
        `${APPROVALS} holds the policy of approvals, without which nothing that needs approval is carried out.`,
      );
    }
    await dropTable(queryRunner, name);
  }
}

function approvals(name: string): TableOptions {
  return {
    name,
    columns: [
      {
        ...text('id', 32),
        isPrimary: true,
        primaryKeyConstraintName: 'field_encryption_approvals_pkey',
      },
      text('subject', 32),
      { name: 'document', type: 'text' },
      { name: 'signatures', type: 'text' },
      { ...text('used_by', 36), isNullable: true },
      { name: 'version', type: 'integer', isNullable: true },
      text('created_at', 32),
    ],
    indices: [
      { name: 'field_encryption_approvals_version', columnNames: ['version'], isUnique: true },
    ],
  };
}
