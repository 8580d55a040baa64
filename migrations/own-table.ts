import { Table } from 'typeorm';
import type { QueryRunner, TableColumn, TableColumnOptions, TableOptions } from 'typeorm';

import { dialectOf } from '../src/typeorm/dialect/dialect-of';
import type { OwnTables } from '../src/typeorm/dialect/own-tables';
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
  const table = new Table(options);
  const own = ownTables(queryRunner);
  if (own === undefined) await queryRunner.createTable(table);
  else await queryRunner.query(own.create(table));
}

/** Adds a column, unless a generated migration, or synchronize, has. */
export async function addUnlessPresent(
  queryRunner: QueryRunner,
  table: string,
  column: TableColumn,
): Promise<void> {
  if (await queryRunner.hasColumn(table, column.name)) return;
  const own = ownTables(queryRunner);
  if (own === undefined) await queryRunner.addColumn(table, column);
  else await queryRunner.query(own.addColumn(table, column));
}

/** Drops a column of one of the library's own tables. */
export async function dropColumn(
  queryRunner: QueryRunner,
  table: string,
  column: string,
): Promise<void> {
  if (ownTables(queryRunner) === undefined) await queryRunner.dropColumn(table, column);
  else {
    const name = escaped(queryRunner, column);
    await queryRunner.query(`ALTER TABLE ${escaped(queryRunner, table)} DROP COLUMN ${name}`);
  }
}

/** Drops one of the library's own tables. */
export async function dropTable(queryRunner: QueryRunner, table: string): Promise<void> {
  if (ownTables(queryRunner) === undefined) await queryRunner.dropTable(table);
  else await queryRunner.query(`DROP TABLE ${escaped(queryRunner, table)}`);
}

function escaped({ manager }: QueryRunner, path: string): string {
  const { driver } = manager.connection;
  return path
    .split('.')
    .map((part) => driver.escape(part))
    .join('.');
}

function ownTables({ manager }: QueryRunner): OwnTables | undefined {
  return dialectOf(manager.connection).ownTables;
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
  await dropTable(queryRunner, table);
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
