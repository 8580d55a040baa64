import { And, Any, Equal, In, Not, Or, Raw } from 'typeorm';
import type { FindOperator } from 'typeorm';
import { InstanceChecker } from 'typeorm/util/InstanceChecker.js';

import { queryRefused } from '../../metadata/encrypted-column';
import type { EncryptedColumn, IndexedColumn } from '../../metadata/encrypted-column';

import { DeferredTokens } from './deferred-parameter';

/** A condition on an encrypted property, turned into one on its blind index. */
export type Lookup =
  /** The condition as it is, as NULL is stored as NULL. */
  | { readonly kind: 'unchanged' }
  /** The same operators over tokens, on the index column. */
  | { readonly kind: 'tokens'; readonly index: IndexedColumn; readonly value: unknown }
  /** A condition that takes more than comparing tokens: they are truncated, or rows may be cleartext. */
  | {
      readonly kind: 'composed';
      readonly index: IndexedColumn;
      readonly condition: ComposedCondition;
    };

/** A tree of find operators. */
export type ComposedCondition =
  | ({ readonly kind: 'oneOf' } & OneOf)
  | { readonly kind: 'isNull' }
  | { readonly kind: 'not'; readonly operand: ComposedCondition }
  | { readonly kind: 'and' | 'or'; readonly operands: readonly ComposedCondition[] };

/** Equality with one of some values. */
export interface OneOf {
  readonly values: readonly unknown[];
  /** Whether NULL is among them: it equals nothing, and nothing differs from a list that holds it. */
  readonly withNull: boolean;
}

/**
 * Rewrites the value of a where condition, which may be a tree of find operators. Returns new operators, as
 * applications share theirs between queries.
 *
 * @throws {@link UnsupportedQueryError} for a condition that a keyed hash cannot answer
 */
export function rewriteCondition(encrypted: EncryptedColumn, value: unknown): Lookup {
  if (isNullCheck(value) || (isNone(value) && encrypted.indexes.length === 0))
    return { kind: 'unchanged' };
  const index = indexFor(encrypted);
  if (index.index.isTruncated || encrypted.readsPlaintext) {
    return { kind: 'composed', index, condition: composedCondition(encrypted, value) };
  }
  return { kind: 'tokens', index, value: tokensOf(encrypted, index, value) };
}

/** Counts the values that a condition compares with. */
export function countOperands(condition: ComposedCondition): number {
  switch (condition.kind) {
    case 'oneOf':
      return condition.values.length;
    case 'not':
      return countOperands(condition.operand);
    case 'isNull':
      return 0;
    default:
      return condition.operands.reduce((sum, operand) => sum + countOperands(operand), 0);
  }
}

function indexFor(encrypted: EncryptedColumn): IndexedColumn {
  const [index] = encrypted.indexes;
  if (index !== undefined) return index;
  return refuse(
    encrypted,
    'is encrypted and has no blind index, so no condition on it can be answered',
    'Add @BlindIndex() beside @Encrypted(), then write existing rows again',
  );
}

function tokensOf(encrypted: EncryptedColumn, index: IndexedColumn, value: unknown): unknown {
  if (!isOperator(value)) return isNone(value) ? value : equalTo(encrypted, index, value);
  const operand: unknown = value.child ?? value.value;
  switch (value.type) {
    case 'equal':
      if (isNone(operand)) return Equal(operand);
      return asOperator(equalTo(encrypted, index, operand));
    case 'in':
      return oneOf(encrypted, index, listOf(operand), In);
    case 'any':
      return oneOf(encrypted, index, listOf(operand), Any);
    case 'not':
      return Not(tokensOf(encrypted, index, operand));
    case 'and':
      return And(...listOf(operand).map((item) => asOperator(tokensOf(encrypted, index, item))));
    case 'or':
      return Or(...listOf(operand).map((item) => asOperator(tokensOf(encrypted, index, item))));
    case 'isNull':
      return value;
    default:
      return refuseOperator(encrypted, value.type);
  }
}

/** Returns one token as it is, or several, while the index changes, as a list. */
function equalTo(encrypted: EncryptedColumn, index: IndexedColumn, value: unknown): unknown {
  assertValue(encrypted, value);
  const tokens = DeferredTokens.tokensOrDeferred(encrypted, index, [value]);
  if (tokens instanceof DeferredTokens) return deferredIn(tokens, false);
  return tokens.length === 1 ? tokens[0] : In(tokens);
}

function oneOf(
  encrypted: EncryptedColumn,
  index: IndexedColumn,
  list: readonly unknown[],
  operator: (tokens: readonly unknown[]) => FindOperator<unknown>,
): FindOperator<unknown> {
  const { values, withNull } = withoutNull(list);
  for (const value of values) assertValue(encrypted, value);
  const tokens = DeferredTokens.tokensOrDeferred(encrypted, index, values);
  if (tokens instanceof DeferredTokens) return deferredIn(tokens, withNull);
  return operator(withNull ? [...tokens, null] : tokens);
}

let deferredLists = 0;

/** Returns a list that is one parameter, as the number of tokens is not known yet. */
function deferredIn(tokens: DeferredTokens, withNull: boolean): FindOperator<unknown> {
  deferredLists += 1;
  const name = `encrypted_deferred_${String(deferredLists)}`;
  return Raw((column) => `${column} IN (${withNull ? 'NULL, ' : ''}:...${name})`, {
    [name]: tokens,
  });
}

/** Returns a condition as a tree of find operators. */
export function composedCondition(encrypted: EncryptedColumn, value: unknown): ComposedCondition {
  const equality = (list: readonly unknown[]): ComposedCondition => {
    for (const each of list) assertValue(encrypted, each);
    return { kind: 'oneOf', ...withoutNull(list) };
  };
  if (!isOperator(value)) return equality([value]);
  const operand: unknown = value.child ?? value.value;
  switch (value.type) {
    case 'equal':
      return equality([operand]);
    case 'in':
    case 'any':
      return equality(listOf(operand));
    case 'isNull':
      return { kind: 'isNull' };
    case 'not':
      return { kind: 'not', operand: composedCondition(encrypted, operand) };
    case 'and':
    case 'or':
      return {
        kind: value.type,
        operands: listOf(operand).map((each) => composedCondition(encrypted, each)),
      };
    default:
      return refuseOperator(encrypted, value.type);
  }
}

function withoutNull(list: readonly unknown[]): OneOf {
  const values = list.filter((value) => !isNone(value));
  return { values, withNull: values.length < list.length };
}

function isNone(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}

function assertValue(encrypted: EncryptedColumn, value: unknown): void {
  if (typeof value === 'function') {
    refuse(encrypted, 'is compared with an SQL expression', 'Give the value itself');
  }
}

/** Whether a condition is IsNull() under any number of Not(). */
function isNullCheck(value: unknown): boolean {
  if (!isOperator(value)) return false;
  if (value.type === 'isNull') return true;
  return value.type === 'not' && isNullCheck(value.child);
}

/** Goes by TypeORM's own mark, a symbol, which the JSON of a request cannot hold. */
function isOperator(value: unknown): value is FindOperator<unknown> {
  return InstanceChecker.isFindOperator(value);
}

function asOperator(value: unknown): FindOperator<unknown> {
  return isOperator(value) ? value : Equal(value);
}

function listOf(operand: unknown): readonly unknown[] {
  return Array.isArray(operand) ? operand : [operand];
}

function refuseOperator(encrypted: EncryptedColumn, type: string): never {
  return refuse(
    encrypted,
    `is encrypted, its blind index answers equality only, not ${type}`,
    'Use Equal, In, Not, And, Or or IsNull; for ranges and patterns filter in memory after reading',
  );
}

function refuse(encrypted: EncryptedColumn, problem: string, remedy: string): never {
  throw queryRefused(encrypted, `${problem}. ${remedy}.`);
}
