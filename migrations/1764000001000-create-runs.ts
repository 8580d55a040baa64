import type { MigrationInterface, QueryRunner, TableOptions } from 'typeorm';

import { createUnlessPresent, dropTable, tableName, text } from './own-table';

const RUNS = 'field_encryption_runs';
const RANGES = 'field_encryption_ranges';

/** Creates the tables in which runs over the rows keep their checkpoints. */
export class CreateRuns1764000001000 implements MigrationInterface {
  readonly name = 'CreateRuns1764000001000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const table of [
      runs(tableName(queryRunner, RUNS)),
      ranges(tableName(queryRunner, RANGES)),
    ]) {
      await createUnlessPresent(queryRunner, table);
    }
  }

  /** Runs under way start again from the first row. */
  async down(queryRunner: QueryRunner): Promise<void> {
    await dropTable(queryRunner, tableName(queryRunner, RANGES));
    await dropTable(queryRunner, tableName(queryRunner, RUNS));
  }
}

function runs(name: string): TableOptions {
  return {
    name,
    columns: [
      {
        ...text('id', 32),
        isPrimary: true,
        primaryKeyConstraintName: 'field_encryption_runs_pkey',
      },
      text('mode', 16),
      text('table_path', 256),
      text('scope', 64),
      text('structure', 64),
      { name: 'pass', type: 'integer' },
      text('state', 16),
      text('started_at', 32),
      { ...text('ended_at', 32), isNullable: true },
    ],
    indices: [
      {
        name: 'field_encryption_runs_one_running',
        columnNames: ['mode', 'table_path', 'scope'],
        isUnique: true,
        where: `"state" = 'running'`,
      },
    ],
  };
}

function ranges(name: string): TableOptions {
  const key = { isPrimary: true, primaryKeyConstraintName: 'field_encryption_ranges_pkey' };
  return {
    name,
    columns: [
      { ...text('run_id', 32), ...key },
      { name: 'pass', type: 'integer', ...key },
      { name: 'seq', type: 'integer', ...key },
      { name: 'lower_key', type: 'text', isNullable: true },
      { name: 'upper_key', type: 'text', isNullable: true },
      { name: 'cursor_key', type: 'text', isNullable: true },
      { name: 'done', type: 'integer' },
      text('owner', 256),
      { name: 'fence', type: 'integer' },
      { name: 'lease_until', type: 'bigint' },
      { name: 'changed', type: 'integer' },
      { name: 'lost', type: 'integer' },
    ],
  };
}
