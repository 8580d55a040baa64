import type { EntityMetadata, QueryRunner, TableCheck } from 'typeorm';

import { dialectOf } from '../dialect/dialect-of';

/** Fetches the names of the CHECK constraints of a table; `undefined` if it does not exist. */
export async function checkNames(
  runner: QueryRunner,
  metadata: EntityMetadata,
): Promise<ReadonlySet<string> | undefined> {
  const { catalog, checks } = dialectOf(runner.connection);
  if (checks === undefined) return namesOf((await runner.getTable(metadata.tablePath))?.checks);
  const exists = await catalog.hasTable(runner, metadata.tablePath);
  return exists ? namesOf(await checks.of(runner, metadata)) : undefined;
}

function namesOf(checks: readonly TableCheck[] | undefined): ReadonlySet<string> | undefined {
  return checks && new Set(checks.map(({ name }) => String(name)));
}
