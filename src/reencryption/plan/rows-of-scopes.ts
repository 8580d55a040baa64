import type { DataSource, EntityMetadata } from 'typeorm';

import type { Scope } from '../../keys/record/scope';
import { SCOPE_KEY_STATES } from '../../keys/record/scope-key-record';
import { dialectOf } from '../../typeorm/dialect/dialect-of';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { boundCondition } from '../database/bound-condition';
import type { BoundCondition, ParameterValue } from '../database/bound-condition';
import { underScopeKeySql } from '../database/prefix-sql';
import { scopeIdSql } from '../database/scope-id-sql';
import type { RunOptions } from '../report/run-options';

/** Returns the condition of the rows of a table that a run is about: those of `where`, and of the scopes. */
export function whereOf(
  metadata: EntityMetadata,
  columns: readonly EncryptedColumn[],
  { where = {}, parameters = {} }: RunOptions,
  scopes: readonly Scope[] | undefined,
): BoundCondition {
  const given = where[metadata.name] ?? '';
  const dataSource = metadata.connection;
  if (scopes === undefined) return boundCondition(dataSource, given, parameters);
  const ofScopes = columns.map((column) => rowsOfScopesSql(dataSource, column)).join(' OR ');
  const both = given === '' ? ofScopes : `(${given}) AND (${ofScopes})`;
  return boundCondition(dataSource, both, { ...parameters, ...idsByKind(scopes) });
}

/** By the parameter of each kind, a JSON text of the ids, of which there may be many. */
function idsByKind(scopes: readonly Scope[]): Record<string, ParameterValue> {
  const ofKind = (kind: string): string[] =>
    scopes.filter((scope) => scope.kind === kind).map(({ id }) => id);
  return Object.fromEntries(
    scopes.map(({ kind }) => [parameterOf(kind), JSON.stringify(ofKind(kind))]),
  );
}

/** A kind may have hyphens, and a parameter not. */
function parameterOf(kind: string): string {
  return `scopes_${Buffer.from(kind).toString('hex')}`;
}

/** Returns SQL for the rows of some scopes: by their column, and by the keys of their values. */
function rowsOfScopesSql(
  dataSource: DataSource,
  { column, policy, scope }: EncryptedColumn,
): string {
  if (scope === undefined) return 'FALSE';
  const ids = dialectOf(dataSource).sql.jsonTexts(`:${parameterOf(scope.kind)}`);
  const keys = `k.kind = '${scope.kind}' AND k.scope IN (${ids})`;
  const cell = dataSource.driver.escape(column.databaseName);
  return [
    underScopeKeySql(dataSource, cell, policy.storage, SCOPE_KEY_STATES, keys),
    ...(scope.column === undefined ? [] : [`${scopeIdSql(dataSource, scope.column)} IN (${ids})`]),
  ].join(' OR ');
}
