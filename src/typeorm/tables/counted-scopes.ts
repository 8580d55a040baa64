import type { QueryRunner } from 'typeorm';

import type { ScopeCount } from '../../keys/scopes/scope-key-store';

import { ScopeKeySchema } from './scope-key-table';
import type { ScopeKeyRow } from './scope-key-table';

/** Counts the scopes of each kind by the state of their keys, and those with a mark. */
export async function countedScopes(runner: QueryRunner): Promise<ScopeCount[]> {
  const counts = await runner.manager
    .createQueryBuilder(ScopeKeySchema, 'k', runner)
    .select('k.kind', 'kind')
    .addSelect('k.purpose', 'purpose')
    .addSelect('k.state', 'state')
    .addSelect('COUNT(DISTINCT k.scope)', 'scopes')
    .where(`k.purpose <> 'index' AND k.state <> 'deactivated'`)
    // Erased scopes are counted by their keys.
    .andWhere(`(k.purpose <> 'erasure' OR k.state <> 'erased')`)
    .groupBy('k.kind')
    .addGroupBy('k.purpose')
    .addGroupBy('k.state')
    .orderBy('k.kind')
    .addOrderBy('k.purpose')
    .addOrderBy('k.state')
    .cache(false)
    .getRawMany<Pick<ScopeKeyRow, 'kind' | 'purpose' | 'state'> & { scopes: number | string }>();
  return counts.map(({ kind, purpose, state, scopes }) => ({
    kind,
    state: purpose === 'hold' ? 'held' : purpose === 'erasure' ? 'requested' : state,
    scopes: Number(scopes),
  }));
}
