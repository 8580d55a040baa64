import type { EntityMetadata } from 'typeorm';

import type { Installation } from '../../installation/installation';
import type { EncryptedColumn, IndexedColumn } from '../../metadata/encrypted-column';
import { CLEARTEXT } from '../../sql/raw-use';
import type { AnyQueryBuilder } from '../any-query-builder';

import { cleartextForms } from './cleartext-forms';
import { noteLookUp } from './criteria-uses';
import { DeferredTokens, ExactMatches } from './deferred-parameter';
import { expectationOf } from './expectation';
import type { Expectation } from './expectation';
import { composedCondition, countOperands, rewriteCondition } from './lookup';
import type { ComposedCondition, OneOf } from './lookup';
import { notingCriteria } from './statement-keys';

/** A join that find options ask for and TypeORM has not applied yet. */
export interface PendingJoin {
  readonly alias: string;
  readonly relationMetadata: { readonly inverseEntityMetadata: EntityMetadata };
}

/** A predicate for TypeORM's `getWherePredicateCondition`, or finished SQL. */
export type RewrittenPredicate = {
  /** The values that the rows it finds must hold. */
  readonly expectation?: Expectation | undefined;
} & ({ readonly path: string; readonly value: unknown } | { readonly sql: string });

/** Rewrites one `path = value` predicate, to which TypeORM reduces find options, criteria and object conditions. */
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
  return notingCriteria(builder, () => rewritten(builder, place, encrypted, { path, value }));
}

function rewritten(
  builder: AnyQueryBuilder,
  place: Place,
  encrypted: EncryptedColumn,
  { path, value }: { readonly path: string; readonly value: unknown },
): RewrittenPredicate {
  const lookup = rewriteCondition(encrypted, value);
  if (lookup.kind === 'unchanged') return { path, value };
  noteLookUp(builder, encrypted, () => countOperands(composedCondition(encrypted, value)));
  const expectation = expectationOf(place.alias, encrypted, value);
  if (lookup.kind === 'tokens') {
    const indexPath = place.prefix + lookup.index.column.propertyPath;
    return { path: indexPath, value: lookup.value, expectation };
  }
  const sql = composedSql({ builder, place, encrypted, ...lookup }, lookup.condition);
  return { sql, expectation };
}

interface Place {
  readonly metadata: EntityMetadata;
  readonly propertyPath: string;
  readonly alias: string;
  /** The alias with its dot; empty in statements that have no aliases. */
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
      ? { metadata: mainAlias.metadata, propertyPath: path, alias: mainAlias.name, prefix: '' }
      : undefined;
  }
  const dot = path.indexOf('.');
  const name = path.slice(0, dot);
  // The builder of Brackets knows the main alias and the joins, but has no list of aliases.
  const alias = [mainAlias, ...aliases, ...joinAttributes.map((join) => join.alias)].find(
    (each) => each?.name === name && each.hasMetadata,
  );
  const metadata =
    alias?.metadata ??
    pendingJoins.find((join) => join.alias === name)?.relationMetadata.inverseEntityMetadata;
  if (metadata === undefined) return undefined;
  return { metadata, propertyPath: path.slice(dot + 1), alias: name, prefix: `${name}.` };
}

/** The place of a composed condition. */
interface Composing {
  readonly builder: AnyQueryBuilder;
  readonly place: Place;
  readonly encrypted: EncryptedColumn;
  readonly index: IndexedColumn;
}

/** Returns the SQL of a composed condition, keeping to three-valued logic. */
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

/** Joins conditions in brackets, as TypeORM adds none between this and others. */
function joined(conditions: readonly string[], operator: ' AND ' | ' OR '): string {
  return `(${conditions.map((condition) => `(${condition})`).join(operator)})`;
}

/** Returns the SQL of an equality. NULL is neither equal nor, under NOT, unequal; a list with NULL is never FALSE. */
function oneOfSql(composing: Composing, { values, withNull }: OneOf): string {
  // An empty IN list is not SQL.
  if (values.length === 0) return withNull ? '(1 = 0 OR NULL)' : '1 = 0';
  const { encrypted } = composing;
  const byToken = tokenSql(composing, values);
  const sql = encrypted.readsPlaintext ? withCleartextRows(composing, values, byToken) : byToken;
  return withNull ? `((${sql}) OR NULL)` : `(${sql})`;
}

/** Returns the SQL of a token match, filtered by exact rows if tokens are truncated. No such row is FALSE, not NULL. */
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

/** Adds rows that are not encrypted yet, which have no token and are compared by their cleartext. */
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

/** Sets a parameter under a new name, and returns the name. */
function parameter(builder: AnyQueryBuilder, what: string, value: unknown): string {
  let id = 0;
  while (builder.hasParameter(`encrypted_${what}_${String(id)}`)) id++;
  const name = `encrypted_${what}_${String(id)}`;
  builder.setParameter(name, value);
  return name;
}
