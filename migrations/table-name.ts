import type { QueryRunner } from 'typeorm';
import { OWN_TABLES } from '../src/typeorm/tables/own-tables';

/**
 * The name of a table as the DataSource has it, with the prefix and schema that it gives all its
 * tables; where its entity is there, also with what the naming strategy makes of it.
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
