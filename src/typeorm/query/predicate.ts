import type { EntityMetadata, ObjectLiteral, QueryRunner } from 'typeorm';
import type { Installation } from '../installation';
import type { AnyQueryBuilder } from './any-query-builder';
import type { EncryptedColumn, IndexedColumn } from '../encrypted-column';
import { cleartextForms } from '../cleartext-forms';
import { DeferredParameter, DeferredTokens, ExactMatches } from './deferred-parameter';
import { rewriteCondition } from './lookup';
import type { ComposedCondition, OneOf } from './lookup';
import { assertNoRawUse, CLEARTEXT } from './statement-check';

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
    case 'composed':
      return { sql: composedSql({ builder, place, encrypted, ...lookup }, lookup.condition) };
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
  const alias =
    mainAlias?.name === name && mainAlias.hasMetadata
      ? mainAlias
      : [...aliases, ...joinAttributes.map((join) => join.alias)].find(
          (each) => each.name === name && each.hasMetadata,
        );
  const metadata =
    alias?.metadata ??
    pendingJoins.find((join) => join.alias === name)?.relationMetadata.inverseEntityMetadata;
  if (metadata === undefined) return undefined;
  return { metadata, propertyPath: path.slice(dot + 1), prefix: `${name}.` };
}

/** Where a composed condition goes. */
interface Composing {
  readonly builder: AnyQueryBuilder;
  readonly place: Place;
  readonly encrypted: EncryptedColumn;
  readonly index: IndexedColumn;
}

/** SQL of a composed condition, with SQL's three-valued logic kept. */
function composedSql(composing: Composing, condition: ComposedCondition): string {
  const { encrypted, place } = composing;
  switch (condition.kind) {
    case 'oneOf':
      return oneOfSql(composing, condition);
    case 'isNull':
      return `${place.prefix}${encrypted.column.propertyPath} IS NULL`;
    case 'not':
      return `NOT (${composedSql(composing, condition.operand)})`;
    case 'and':
    case 'or':
      return joined(
        condition.operands.map((operand) => composedSql(composing, operand)),
        condition.kind === 'and' ? ' AND ' : ' OR ',
      );
  }
}

/** In brackets of its own: TypeORM puts it beside other conditions as it is. */
function joined(conditions: readonly string[], operator: ' AND ' | ' OR '): string {
  return `(${conditions.map((condition) => `(${condition})`).join(operator)})`;
}

/** NULL is neither equal nor, under NOT, unequal; and a list with NULL in it is never FALSE. */
function oneOfSql(composing: Composing, { values, withNull }: OneOf): string {
  // An empty IN list is not SQL.
  if (values.length === 0) return withNull ? '(1 = 0 OR NULL)' : '1 = 0';
  const { encrypted } = composing;
  const byToken = tokenSql(composing, values);
  const sql = encrypted.readsPlaintext ? withCleartextRows(composing, values, byToken) : byToken;
  return withNull ? `((${sql}) OR NULL)` : `(${sql})`;
}

/** Token match; of truncated tokens, narrowed to exact rows, of which an empty list is FALSE, not NULL. */
function tokenSql(
  { builder, place, encrypted, index }: Composing,
  values: OneOf['values'],
): string {
  const token = place.prefix + index.column.propertyPath;
  const tokens = DeferredTokens.tokensOrDeferred(encrypted, index, values);
  const anyToken = `${token} IN (:...${parameter(builder, 'tokens', tokens)})`;
  if (!index.index.isTruncated) return anyToken;
  const primary = place.prefix + String(place.metadata.primaryColumns[0]?.propertyPath);
  const matches = parameter(builder, 'matches', new ExactMatches(encrypted, index, values));
  return `${anyToken} AND (${token} IS NULL OR COALESCE(${primary} IN (:...${matches}), FALSE))`;
}

/** Rows that are not encrypted yet have no token, and are compared as they were before. */
function withCleartextRows(
  { builder, place, encrypted, index }: Composing,
  values: OneOf['values'],
  byToken: string,
): string {
  const token = place.prefix + index.column.propertyPath;
  const cell = place.prefix + encrypted.column.propertyPath;
  const forms = values.flatMap((value) => cleartextForms(encrypted, index.index, value));
  const inClear =
    forms.length === 0
      ? `(${cell} IS NULL AND NULL)`
      : `${cell} IN (:...${parameter(builder, CLEARTEXT, forms)})`;
  return `(${byToken} AND ${token} IS NOT NULL) OR (${token} IS NULL AND ${inClear})`;
}

/** Gives a parameter a name that the builder does not have yet. */
function parameter(builder: AnyQueryBuilder, what: string, value: unknown): string {
  let id = 0;
  while (builder.hasParameter(`encrypted_${what}_${String(id)}`)) id++;
  const name = `encrypted_${what}_${String(id)}`;
  builder.setParameter(name, value);
  return name;
}

/**
 * Runs a statement with values in the place of deferred parameters, which few have. Puts these back
 * afterwards: a builder may run again, when other rows match.
 */
export function withResolvedParameters<T>(
  builder: AnyQueryBuilder,
  installation: Installation,
  queryRunner: QueryRunner | undefined,
  run: () => Promise<T>,
): Promise<T> {
  const deferring = deferringParameters(builder);
  return deferring.length === 0
    ? run()
    : runResolved(deferring, { builder, installation, queryRunner, run });
}

const NONE: readonly ObjectLiteral[] = [];

/** Asked for every statement, so that nothing is made for nearly all of them. */
function deferringParameters(builder: AnyQueryBuilder): readonly ObjectLiteral[] {
  const { parameters, commonTableExpressions } = builder.expressionMap;
  if (commonTableExpressions.length === 0) return holdsDeferred(parameters) ? [parameters] : NONE;
  return parametersOf(builder).filter(holdsDeferred);
}

function holdsDeferred(parameters: ObjectLiteral): boolean {
  for (const name in parameters) if (isDeferred(parameters[name])) return true;
  return false;
}

interface Run<T> {
  readonly builder: AnyQueryBuilder;
  readonly installation: Installation;
  readonly queryRunner: QueryRunner | undefined;
  readonly run: () => Promise<T>;
}

async function runResolved<T>(
  deferring: readonly ObjectLiteral[],
  { builder, installation, queryRunner, run }: Run<T>,
): Promise<T> {
  // A statement that will be refused sends nothing ahead either.
  const { expressionMap } = builder;
  assertNoRawUse(expressionMap, installation);
  const { cache } = expressionMap;
  const deferred: (() => void)[] = [];
  try {
    // Of two values, those that the database is asked with may be the same, and the results not.
    expressionMap.cache = false;
    for (const parameters of deferring) {
      for (const [name, value] of Object.entries<unknown>(parameters)) {
        if (!isDeferred(value)) continue;
        deferred.push(() => Object.assign(parameters, { [name]: value }));
        parameters[name] = await resolved(value, installation, queryRunner);
      }
    }
    return await run();
  } finally {
    Object.assign(expressionMap, { cache });
    for (const putBack of deferred) putBack();
  }
}

/** Refuses to hand out a statement whose parameters are not known before it runs. */
export function assertNoneDeferred(builder: AnyQueryBuilder): void {
  for (const parameters of deferringParameters(builder)) {
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
