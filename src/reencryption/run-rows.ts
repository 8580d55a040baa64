import type { DataSource, EntitySchema, ObjectLiteral, QueryRunner } from 'typeorm';
import { withOwnTables } from '../typeorm/table-access';
import { conflicts, isUniqueViolation } from '../typeorm/transient-conflict';

/** Works on the tables that workers share, and again where they get in each other's way. */
export function withRunTables<T>(
  dataSource: DataSource,
  work: (runner: QueryRunner) => Promise<T>,
): Promise<T> {
  return conflicts.execute(() => withOwnTables(dataSource, undefined, work));
}

/** Adds a row to one of them. False when another worker has added it. */
export async function addRow<T extends ObjectLiteral>(
  dataSource: DataSource,
  schema: EntitySchema<T>,
  row: T,
): Promise<boolean> {
  try {
    await withRunTables(dataSource, (runner) => runner.manager.insert(schema, row));
    return true;
  } catch (error) {
    if (isUniqueViolation(error)) return false;
    throw error;
  }
}
