import type { QueryRunner } from 'typeorm';

/**
 * The name of a table as the DataSource has it, with the prefix and schema that it gives all its
 * tables; where its entity is there, also with what the naming strategy makes of it.
 */
export function tableName(queryRunner: QueryRunner, table: string): string {
  const { options, entityMetadatas } = queryRunner.manager.connection;
  const entity = entityMetadatas.find(({ givenTableName }) => givenTableName === table);
  if (entity !== undefined) return entity.tablePath;
  const name = (options.entityPrefix ?? '') + table;
  const schema = 'schema' in options ? options.schema : undefined;
  return schema === undefined ? name : `${schema}.${name}`;
}
