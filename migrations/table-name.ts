import type { QueryRunner } from 'typeorm';

/** The name of a table with the prefix and schema that the DataSource gives all its tables. */
export function tableName(queryRunner: QueryRunner, table: string): string {
  const { options } = queryRunner.manager.connection;
  const name = (options.entityPrefix ?? '') + table;
  const schema = 'schema' in options ? options.schema : undefined;
  return schema === undefined ? name : `${schema}.${name}`;
}
