import { TableColumn } from 'typeorm';
import type { MigrationInterface, QueryRunner } from 'typeorm';

import { addUnlessPresent, countRows, dropColumn, refusedRevert, tableName } from './own-table';

const TABLE = 'data_keys';

/** Adds the columns that tell older rows of the key table from newer ones, and applications apart. */
export class AddKeyEpochs1764000003000 implements MigrationInterface {
  readonly name = 'AddKeyEpochs1764000003000';

  async up(queryRunner: QueryRunner): Promise<void> {
    const table = tableName(queryRunner, TABLE);
    for (const column of [
      new TableColumn({ name: 'epoch', type: 'integer', default: 0 }),
      new TableColumn({ name: 'application', type: 'varchar', length: '128', isNullable: true }),
    ]) {
      await addUnlessPresent(queryRunner, table, column);
    }
  }

  /** Refuses if a key was created or changed since: its MAC covers the epoch. */
  async down(queryRunner: QueryRunner): Promise<void> {
    const table = tableName(queryRunner, TABLE);
    const keys = await countRows(queryRunner, table, 't.epoch <> 0');
    if (keys > 0) {
      throw refusedRevert(
        queryRunner,
        `${table} holds ${String(keys)} keys with an epoch, which could not be read without it.`,
      );
    }
    await dropColumn(queryRunner, table, 'application');
    await dropColumn(queryRunner, table, 'epoch');
  }
}
