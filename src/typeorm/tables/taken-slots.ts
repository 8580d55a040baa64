import type { QueryRunner } from 'typeorm';

import type { ScopeKeyRecord } from '../../keys/record/scope-key-record';
import { dialectOf } from '../dialect/dialect-of';

import { committedRow } from './committed-row';
import { recordOf } from './scope-key-row';
import { ScopeKeySchema } from './scope-key-table';
import type { ScopeKeyRow } from './scope-key-table';

/**
 * Fetches the current keys that others have put into the slots of records which were therefore not inserted, as far as
 * the transaction does not see them by itself.
 */
export async function keysInTheirPlace(
  runner: QueryRunner,
  records: readonly ScopeKeyRecord[],
): Promise<ScopeKeyRecord[]> {
  if (dialectOf(runner.connection).sql.committedRow === undefined) return [];
  const inserted = await insertedIds(runner, records);
  const found: ScopeKeyRecord[] = [];
  for (const record of records) {
    const row = inserted.has(record.id) ? undefined : await currentRow(runner, record);
    if (row !== undefined) found.push(recordOf(row));
  }
  return found;
}

/** A transaction sees its own rows, whatever its snapshot. */
async function insertedIds(
  runner: QueryRunner,
  records: readonly ScopeKeyRecord[],
): Promise<ReadonlySet<string>> {
  const rows = await runner.manager
    .createQueryBuilder(ScopeKeySchema, 'k', runner)
    .select('k.id', 'id')
    .where('k.id IN (:...ids)', { ids: records.map(({ id }) => id) })
    .cache(false)
    .getRawMany<Pick<ScopeKeyRow, 'id'>>();
  return new Set(rows.map(({ id }) => id));
}

/** A deactivated version has a successor. */
async function currentRow(
  runner: QueryRunner,
  { kind, scope, purpose, version }: Pick<ScopeKeyRecord, 'kind' | 'scope' | 'purpose' | 'version'>,
): Promise<ScopeKeyRow | undefined> {
  const row = await committedRow(runner, ScopeKeySchema, { kind, scope, purpose, version });
  if (row?.state !== 'deactivated') return row;
  return currentRow(runner, { kind, scope, purpose, version: version + 1 });
}
