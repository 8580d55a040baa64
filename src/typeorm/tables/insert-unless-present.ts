import type { EntitySchema, ObjectLiteral, QueryRunner } from 'typeorm';

/**
 * Inserts a row into an own table, unless a row is there with which it would break a unique constraint. That
 * is no error to the database, so that nothing is logged and the transaction goes on. Returns whether it did.
 */
export async function insertUnlessPresent<T extends ObjectLiteral>(
  runner: QueryRunner,
  schema: EntitySchema<T>,
  row: T,
): Promise<boolean> {
  const insert = runner.manager.createQueryBuilder().insert().into(schema).orIgnore();
  // The builder's own result does not say how many rows there were.
  const [sql, parameters] = insert.values(row).getQueryAndParameters();
  const { affected } = await runner.query(sql, parameters, true);
  return affected === 1;
}
