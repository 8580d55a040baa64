import type { EntityMetadata, QueryRunner } from 'typeorm';

import { dialectOf } from '../dialect/dialect-of';

/** Fetches the names of the CHECK constraints of a table; `undefined` if it does not exist. */
export async function checkNames(
  runner: QueryRunner,
  metadata: EntityMetadata,
): Promise<ReadonlySet<string> | undefined> {
  const table = await runner.getTable(metadata.tablePath);
  if (table === undefined) return undefined;
  const checks = (await dialectOf(runner.connection).checks?.of(runner, metadata)) ?? table.checks;
  return new Set(checks.map(({ name }) => String(name)));
}
