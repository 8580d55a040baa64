import { Table } from 'typeorm';
import type { MigrationInterface, QueryRunner } from 'typeorm';

import { countRows, refusedRevert, tableName, text } from './own-table';

const APPROVALS = 'field_encryption_approvals';

/** Creates the table of approvals: the versions of their policy, and the requests. */
export class CreateApprovals1764000007000 implements MigrationInterface {
  readonly name = 'CreateApprovals1764000007000';

  async up(queryRunner: QueryRunner): Promise<void> {
    const table = approvals(tableName(queryRunner, APPROVALS));
    // A generated migration, or synchronize, may have created it.
    if (!(await queryRunner.hasTable(table.name))) await queryRunner.createTable(table);
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
    await queryRunner.dropTable(name);
  }
}

function approvals(name: string): Table {
  return new Table({
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
  });
}
