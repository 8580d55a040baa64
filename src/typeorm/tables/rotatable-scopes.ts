import type { DataSource, QueryRunner, SelectQueryBuilder } from 'typeorm';

import type { MarkPurpose } from '../../keys/record/scope-key-record';
import type { RotatableScopes } from '../../keys/scopes/scope-key-store';
import { escapedTable } from '../dialect/escaped-table';

import { ScopeKeySchema } from './scope-key-table';
import type { ScopeKeyRow } from './scope-key-table';

/** Selects the keys to be rotated, by the index of current keys. */
export function rotatableScopes(
  runner: QueryRunner,
  { kind, ids, age }: RotatableScopes,
): SelectQueryBuilder<ScopeKeyRow> {
  const keys = runner.manager
    .createQueryBuilder(ScopeKeySchema, 'k', runner)
    .where(`k.kind = :kind AND k.purpose = 'data' AND k.state <> 'deactivated'`, { kind })
    // A key that only says that it is erased is not passed over.
    .andWhere(`NOT (k.state = 'erased' AND k.sealed = '')`)
    .cache(false);
  if (ids !== undefined) keys.andWhere('k.scope IN (:...ids)', { ids });
  if (age === undefined) return keys;
  const [before, now] = [age.before.toISOString(), age.now.toISOString()];
  return keys.andWhere('(k.since <= :before OR k.since > :now)', { before, now });
}

/** Selects the mark in force of the scope of a key `k`: that of a hold, or of an erasure that was requested. */
export function hasMarkSql(dataSource: DataSource, purpose: MarkPurpose): string {
  const table = escapedTable(dataSource, dataSource.getMetadata(ScopeKeySchema));
  return (
    `SELECT 1 FROM ${table} m WHERE m.kind = k.kind AND m.scope = k.scope ` +
    `AND m.purpose = '${purpose}' AND m.state = 'active'`
  );
}
