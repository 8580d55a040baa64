import { TableColumn } from 'typeorm';
import type { MigrationInterface, QueryRunner } from 'typeorm';
import { refusedRevert } from './refused-revert';
import { tableName } from './table-name';

const TABLE = 'data_keys';

/** Adds to the key table by what older rows are told from newer ones, and rows of other applications from one's own. */
export class AddKeyEpochs1764000003000 implements MigrationInterface {
  readonly name = 'AddKeyEpochs1764000003000';

  async up(queryRunner: QueryRunner): Promise<void> {
    const table = tableName(queryRunner, TABLE);
    for (const column of [
      new TableColumn({ name: 'epoch', type: 'integer', default: 0 }),
      new TableColumn({ name: 'application', type: 'varchar', length: '128', isNullable: true }),
    ]) {
      // The table may have come with a generated migration, or with synchronize.
      if (await queryRunner.hasColumn(table, column.name)) continue;
      await queryRunner.addColumn(table, column);
    }
  }

  /** Refused when a key was made or changed since: its MAC holds with the epoch only. */
  async down(queryRunner: QueryRunner): Promise<void> {
    const table = tableName(queryRunner, TABLE);
    const row = await queryRunner.manager
      .createQueryBuilder()
      .select('COUNT(*)', 'keys')
      .from(table, 'k')
      .where('k.epoch <> 0')
      .getRawOne<{ keys: string | number }>();
    if (row !== undefined && Number(row.keys) > 0) {
      throw refusedRevert(
        queryRunner,
        `${table} holds ${String(row.keys)} keys with an epoch, which could not be read without it.`,
      );
    }
    await queryRunner.dropColumn(table, 'application');
    await queryRunner.dropColumn(table, 'epoch');
  }
}
