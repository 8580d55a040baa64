import type { EntitySchema, ObjectLiteral, QueryRunner } from 'typeorm';

import { dialectOf } from '../dialect/dialect-of';

/**
 * Inserts rows into an own table, except those with which they would break a unique constraint. That is no
 * error to the database, so that nothing is logged and the transaction goes on. Returns how many it inserted.
 */
export async function insertMissingRows<T extends ObjectLiteral>(
  runner: QueryRunner,
  schema: EntitySchema<T>,
  rows: readonly T[],
): Promise<number> {
  const insert = runner.manager.createQueryBuilder().insert().into(schema).orIgnore();
  // The builder's own result does not say how many rows there were.
  const [sql, parameters] = insert.values([...rows]).getQueryAndParameters();
  const result = await runner.query(sql, parameters, true);
  dialectOf(runner.connection).requireOnlyLeftOut?.(result, rows.length);
  return result.affected ?? 0;
}

/** Inserts a row as {@link insertMissingRows} does. Returns whether it did. */
export async function insertUnlessPresent<T extends ObjectLiteral>(
  runner: QueryRunner,
  schema: EntitySchema<T>,
  row: T,
): Promise<boolean> {
  return (await insertMissingRows(runner, schema, [row])) === 1;
}
