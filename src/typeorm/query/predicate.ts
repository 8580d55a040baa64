import type { EntityMetadata, QueryRunner } from 'typeorm';
import type { Installation } from '../installation';
import type { AnyQueryBuilder } from './any-query-builder';
import { DeferredParameter } from './deferred-parameter';
import { rewriteCondition } from './lookup';
import type { Lookup } from './lookup';

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
      return { sql: exactSql(builder, place, lookup) };
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
  const { mainAlias, aliases, aliasNamePrefixingEnabled } = builder.expressionMap;
  if (!aliasNamePrefixingEnabled) {
    return mainAlias?.hasMetadata === true
      ? { metadata: mainAlias.metadata, propertyPath: path, prefix: '' }
      : undefined;
  }
  const dot = path.indexOf('.');
  const name = path.slice(0, dot);
  const alias = aliases.find((each) => each.name === name && each.hasMetadata);
  const metadata =
    alias?.metadata ??
    pendingJoins.find((join) => join.alias === name)?.relationMetadata.inverseEntityMetadata;
  if (metadata === undefined) return undefined;
  return { metadata, propertyPath: path.slice(dot + 1), prefix: `${name}.` };
}

/**
 * Token match narrowed to exact rows, with SQL's three-valued logic kept: NULL is neither equal nor,
 * under NOT, unequal; and an empty list of rows is FALSE, not NULL.
 */
function exactSql(
  builder: AnyQueryBuilder,
  { metadata, prefix }: Place,
  { index, matches, negated }: Extract<Lookup, { kind: 'exact' }>,
): string {
  let id = 0;
  while (builder.hasParameter(`encrypted_matches_${String(id)}`)) id++;
  const token = prefix + index.column.propertyPath;
  const primary = prefix + String(metadata.primaryColumns[0]?.propertyPath);
  builder.setParameter(`encrypted_tokens_${String(id)}`, matches.tokens());
  builder.setParameter(`encrypted_matches_${String(id)}`, matches);
  const sql =
    `(${token} IN (:...encrypted_tokens_${String(id)}) AND (${token} IS NULL OR ` +
    `COALESCE(${primary} IN (:...encrypted_matches_${String(id)}), FALSE)))`;
  return negated ? `NOT ${sql}` : sql;
}

/** Puts values in the place of deferred parameters. */
export async function resolveParameters(
  { expressionMap: { parameters } }: AnyQueryBuilder,
  installation: Installation,
  queryRunner: QueryRunner | undefined,
): Promise<void> {
  for (const [name, value] of Object.entries(parameters)) {
    const resolved = resolvedParameter(value, installation, queryRunner);
    if (resolved !== undefined) parameters[name] = await resolved;
  }
}

function resolvedParameter(
  value: unknown,
  installation: Installation,
  queryRunner: QueryRunner | undefined,
): Promise<unknown> | undefined {
  if (value instanceof DeferredParameter) return value.resolve(installation, queryRunner);
  if (Array.isArray(value) && value.some((item) => item instanceof DeferredParameter)) {
    return Promise.all(
      value.map((item: unknown) => resolvedParameter(item, installation, queryRunner) ?? item),
    );
  }
  return undefined;
}
