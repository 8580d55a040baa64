import type { QueryRunner, SelectQueryBuilder } from 'typeorm';

import type { MarkPurpose } from '../../keys/record/scope-key-record';
import type { ScopeCount } from '../../keys/scopes/scope-key-store';

import { hasMarkSql } from './rotatable-scopes';
import { ScopeKeySchema } from './scope-key-table';
import type { ScopeKeyRow } from './scope-key-table';

/** Counts the scopes of each kind, each by one state: that of its key, or by its marks. */
export async function countedScopes(runner: QueryRunner): Promise<ScopeCount[]> {
  const counts = await scopeCounts(runner).getRawMany<{
    kind: string;
    state: ScopeCount['state'];
    scopes: number | string;
  }>();
  return counts.map((count) => ({ ...count, scopes: Number(count.scopes) }));
}

/** Selects the counts of {@link countedScopes}. */
export function scopeCounts(runner: QueryRunner): SelectQueryBuilder<ScopeKeyRow> {
  const marked = (purpose: MarkPurpose): string =>
    `EXISTS (${hasMarkSql(runner.connection, purpose)})`;
  return (
    runner.manager
      .createQueryBuilder(ScopeKeySchema, 'k', runner)
      .select('k.kind', 'kind')
      .addSelect(
        `CASE WHEN k.state <> 'active' THEN k.state WHEN ${marked('hold')} THEN 'held' ` +
          `WHEN ${marked('erasure')} THEN 'requested' ELSE k.state END`,
        'state',
      )
      .addSelect('COUNT(*)', 'scopes')
      // Of a scope, one data key at most is current.
      .where(`k.purpose = 'data' AND k.state <> 'deactivated'`)
      .groupBy('1, 2')
      .orderBy('1')
      .addOrderBy('2')
      .cache(false)
  );
}
