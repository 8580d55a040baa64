import { Table } from 'typeorm';
import type { QueryRunner, TableColumnOptions, TableOptions } from 'typeorm';

import { OWN_TABLES } from '../src/typeorm/tables/own-tables';

/**
 * Returns the name of a table in the DataSource, with the prefix and schema that it gives all its tables;
 * also with its naming strategy, if the table's entity is there.
 */
export function tableName(queryRunner: QueryRunner, table: string): string {
  const { connection } = queryRunner.manager;
  const own = OWN_TABLES.find(({ schema }) => schema.options.tableName === table);
  if (own !== undefined && connection.hasMetadata(own.schema)) {
    return connection.getMetadata(own.schema).tablePath;
  }
  const { options } = connection;
  const name = (options.entityPrefix ?? '') + table;
  const schema = 'schema' in options ? options.schema : undefined;
  return schema === undefined ? name : `${schema}.${name}`;
}

/** Returns the options of a column of text. */
export function text(name: string, length: number): TableColumnOptions {
  return { name, type: 'varchar', length: String(length) };
}

/** Creates a table, unless a generated migration, or synchronize, has. */
export async function createUnlessPresent(
  queryRunner: QueryRunner,
  options: TableOptions,
): Promise<void> {
  if (await queryRunner.hasTable(options.name)) return;
  await queryRunner.createTable(new Table(options));
}

/** Counts the rows of a table that meet a condition; all by default. */
export async function countRows(
  queryRunner: QueryRunner,
  table: string,
  condition = '1 = 1',
): Promise<number> {
  const row = await queryRunner.manager
    .createQueryBuilder()
    .select('COUNT(*)', 'total')
    .from(table, 't')
    .where(condition)
    .getRawOne<{ total: string | number }>();
  return Number(row?.total ?? 0);
}

/** Drops the table of a log. Refuses while there are entries: the log has to outlast what it records. */
export async function dropEmptyLog(queryRunner: QueryRunner, log: string): Promise<void> {
  const table = tableName(queryRunner, log);
  const entries = await countRows(queryRunner, table);
  if (entries > 0) {
    throw refusedRevert(
      queryRunner,
      `${table} holds ${String(entries)} entries. Export them and empty the table before you revert.`,
    );
  }
  await queryRunner.dropTable(table);
}

/** Returns the error of a migration that cannot be reverted, and says how to get at those that ran before it. */
export function refusedRevert({ connection }: QueryRunner, reason: string): Error {
  const records = connection.options.migrationsTableName ?? 'migrations';
  return new Error(
    `${reason} To revert a migration of yours that ran before this one, first delete the records of ` +
      `fieldEncryptionMigrations from ${records}: the tables and keys stay, and the next migration:run ` +
      'takes them as they are. See "The way back" in docs/encrypting-an-existing-column.md.',
  );
}
