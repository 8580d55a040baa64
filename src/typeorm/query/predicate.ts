import type { EntityMetadata, ObjectLiteral, QueryRunner } from 'typeorm';
import type { Installation } from '../installation';
import type { AnyQueryBuilder } from './any-query-builder';
import type { IndexedColumn } from '../encrypted-column';
import { DeferredParameter } from './deferred-parameter';
import type { ExactMatches } from './deferred-parameter';
import { rewriteCondition } from './lookup';
import type { ExactCondition } from './lookup';
import { assertNoRawUse } from './statement-check';

/** A join that find options have asked for and TypeORM has not applied yet. */
export interface PendingJoin {
  readonly alias: string;
  readonly relationMetadata: { readonly inverseEntityMetadata: EntityMetadata };
}

/** A predicate as TypeORM's `getWherePredicateCondition` takes it, or finished SQL. */
export type RewrittenPredicate =
  { readonly path: string; readonly value: unknown } | { readonly sql: string };

/**
 * Rewrites one `path = value` predicate, the form to which TypeORM reduces find options, criteria
 * and object conditions alike.
 */
export function rewritePredicate(
  builder: AnyQueryBuilder,
  pendingJoins: readonly PendingJoin[],
  installation: Installation,
  path: string,
  value: unknown,
): RewrittenPredicate {
  const place = placeOf(builder, pendingJoins, path);
  const encrypted =
    place && installation.encryptedEntity(place.metadata)?.byPropertyPath.get(place.propertyPath);
  if (place === undefined || encrypted === undefined) return { path, value };
  const lookup = rewriteCondition(encrypted, value);
  switch (lookup.kind) {
    case 'unchanged':
      return { path, value };
    case 'tokens':
      return { path: place.prefix + lookup.index.column.propertyPath, value: lookup.value };
    case 'exact':
      return { sql: exactSql(builder, place, lookup.index, lookup.condition) };
  }
}

interface Place {
  readonly metadata: EntityMetadata;
  readonly propertyPath: string;
  /** The alias with its dot, or nothing in statements that have no aliases. */
  readonly prefix: string;
}

function placeOf(
  builder: AnyQueryBuilder,
  pendingJoins: readonly PendingJoin[],
  path: string,
): Place | undefined {
  const { mainAlias, aliases, joinAttributes, aliasNamePrefixingEnabled } = builder.expressionMap;
  if (!aliasNamePrefixingEnabled) {
    return mainAlias?.hasMetadata === true
      ? { metadata: mainAlias.metadata, propertyPath: path, prefix: '' }
      : undefined;
  }
  const dot = path.indexOf('.');
  const name = path.slice(0, dot);
  // The builder that Brackets are given knows the main alias and the joins, but has no list of aliases.
  const alias = [mainAlias, ...aliases, ...joinAttributes.map((join) => join.alias)].find(
    (each) => each?.name === name && each.hasMetadata,
  );
  const metadata =
    alias?.metadata ??
    pendingJoins.find((join) => join.alias === name)?.relationMetadata.inverseEntityMetadata;
  if (metadata === undefined) return undefined;
  return { metadata, propertyPath: path.slice(dot + 1), prefix: `${name}.` };
}

/** SQL of a condition on a truncated index, with SQL's three-valued logic kept. */
function exactSql(
  builder: AnyQueryBuilder,
  place: Place,
  index: IndexedColumn,
  condition: ExactCondition,
): string {
  switch (condition.kind) {
    case 'matches':
      return matchesSql(builder, place, index, condition.matches);
    case 'isNull':
      return `${place.prefix}${index.column.propertyPath} IS NULL`;
    case 'not':
      return `NOT (${exactSql(builder, place, index, condition.operand)})`;
    case 'and':
    case 'or':
      return joined(
        condition.operands.map((operand) => exactSql(builder, place, index, operand)),
        condition.kind === 'and' ? ' AND ' : ' OR ',
      );
  }
}

/** In brackets of its own: TypeORM puts it beside other conditions as it is. */
function joined(conditions: readonly string[], operator: ' AND ' | ' OR '): string {
  return `(${conditions.map((condition) => `(${condition})`).join(operator)})`;
}

/**
 * Token match narrowed to exact rows: NULL is neither equal nor, under NOT, unequal; an empty list
 * of rows is FALSE, not NULL; and a list with NULL in it is never FALSE.
 */
function matchesSql(
  builder: AnyQueryBuilder,
  { metadata, prefix }: Place,
  index: IndexedColumn,
  matches: ExactMatches,
): string {
  const orNull = matches.withNull ? '(1 = 0 OR NULL)' : '1 = 0';
  if (matches.isEmpty) return orNull;
  let id = 0;
  while (builder.hasParameter(`encrypted_matches_${String(id)}`)) id++;
  const token = prefix + index.column.propertyPath;
  const primary = prefix + String(metadata.primaryColumns[0]?.propertyPath);
  builder.setParameter(`encrypted_tokens_${String(id)}`, matches.tokens());
  builder.setParameter(`encrypted_matches_${String(id)}`, matches);
  const sql =
    `${token} IN (:...encrypted_tokens_${String(id)}) AND (${token} IS NULL OR ` +
    `COALESCE(${primary} IN (:...encrypted_matches_${String(id)}), FALSE))`;
  return matches.withNull ? `((${sql}) OR NULL)` : `(${sql})`;
}

/**
 * Runs a statement with values in the place of deferred parameters. Puts these back afterwards: a
 * builder may run again, when other rows match.
 */
export async function withResolvedParameters<T>(
  builder: AnyQueryBuilder,
  installation: Installation,
  queryRunner: QueryRunner | undefined,
  run: () => Promise<T>,
): Promise<T> {
  const deferred: (() => void)[] = [];
  try {
    for (const parameters of parametersOf(builder)) {
      for (const [name, value] of Object.entries<unknown>(parameters)) {
        if (!isDeferred(value)) continue;
        // A statement that will be refused sends nothing ahead either.
        assertNoRawUse(builder.expressionMap, installation);
        deferred.push(() => Object.assign(parameters, { [name]: value }));
        parameters[name] = await resolved(value, installation, queryRunner);
      }
    }
    return await run();
  } finally {
    for (const putBack of deferred) putBack();
  }
}

/** Refuses to hand out a statement whose parameters are not known before it runs. */
export function assertNoneDeferred(builder: AnyQueryBuilder): void {
  for (const parameters of parametersOf(builder)) {
    for (const value of Object.values(parameters).flat()) {
      if (value instanceof DeferredParameter) throw value.notYetKnown();
    }
  }
}

/** Those of the builder and of its common table expressions, which hand theirs over when it becomes SQL. */
function parametersOf({ expressionMap }: AnyQueryBuilder): ObjectLiteral[] {
  return [
    expressionMap.parameters,
    ...expressionMap.commonTableExpressions.flatMap(({ queryBuilder }) =>
      typeof queryBuilder === 'string' ? [] : parametersOf(queryBuilder),
    ),
  ];
}

function isDeferred(value: unknown): boolean {
  return value instanceof DeferredParameter || (Array.isArray(value) && value.some(isDeferred));
}

async function resolved(
  value: unknown,
  installation: Installation,
  queryRunner: QueryRunner | undefined,
): Promise<unknown> {
  if (value instanceof DeferredParameter) return value.resolve(installation, queryRunner);
  if (!Array.isArray(value)) return value;
  const items: unknown[] = [];
  // One after the other: they may share one connection.
  for (const item of value) items.push(await resolved(item, installation, queryRunner));
  return items;
}
