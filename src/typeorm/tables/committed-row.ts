import type { EntitySchema, ObjectLiteral, QueryRunner } from 'typeorm';

import { dialectOf } from '../dialect/dialect-of';

/** The values of all columns of a unique index. */
type Identity<T> = { readonly [K in keyof T]?: string | number };

/**
 * Fetches a row that another transaction has committed since the snapshot of this one, where such a row is not seen
 * without more ado. It must be there: in the place of a missing one, others would be kept from inserting their rows.
 */
export async function committedRow<T extends ObjectLiteral>(
  runner: QueryRunner,
  schema: EntitySchema<T>,
  identity: Identity<T>,
): Promise<T | undefined> {
  const { committedRow: ending } = dialectOf(runner.connection).sql;
  if (ending === undefined) return undefined;
  const query = runner.manager.createQueryBuilder(schema, 'r', runner).where(identity).select([]);
  for (const property of Object.keys(schema.options.columns)) {
    query.addSelect(`r.${property}`, property);
  }
  const [sql, parameters] = query.getQueryAndParameters();
  const [row] = (await runner.query(`${sql}${ending}`, parameters)) as T[];
  return row;
}
