import { And, Any, Equal, In, Not, Or } from 'typeorm';
import type { FindOperator } from 'typeorm';
import { UnsupportedQueryError } from '../../errors';
import type { EncryptedColumn, IndexedColumn } from '../encrypted-column';
import { describeColumn } from '../encrypted-column';
import { DeferredToken, ExactMatches } from './deferred-parameter';

/** A condition on an encrypted property, turned into one on its blind index. */
export type Lookup =
  /** The condition as it is: NULL is stored as NULL. */
  | { readonly kind: 'unchanged' }
  /** The same operators over tokens, on the index column. */
  | { readonly kind: 'tokens'; readonly index: IndexedColumn; readonly value: unknown }
  /** Equality through truncated tokens, narrowed to exact matches. */
  | {
      readonly kind: 'exact';
      readonly index: IndexedColumn;
      readonly condition: ExactCondition;
    };

/** A tree of find operators over a property with a truncated index. */
export type ExactCondition =
  | { readonly kind: 'matches'; readonly matches: ExactMatches }
  | { readonly kind: 'isNull' }
  | { readonly kind: 'not'; readonly operand: ExactCondition }
  | { readonly kind: 'and' | 'or'; readonly operands: readonly ExactCondition[] };

/**
 * Rewrites the value of a where condition, which may be a tree of find operators.
 *
 * Returns new operators and leaves the caller's alone, since TypeORM users share them between queries.
 * Throws {@link UnsupportedQueryError} for what a keyed hash cannot answer.
 */
export function rewriteCondition(encrypted: EncryptedColumn, value: unknown): Lookup {
  const isNull = value === null || value === undefined;
  if (isNullCheck(value) || (isNull && encrypted.indexes.length === 0))
    return { kind: 'unchanged' };
  const index = indexFor(encrypted);
  if (index.policy.bits !== undefined) {
    return { kind: 'exact', index, condition: exactCondition(encrypted, index, value) };
  }
  return { kind: 'tokens', index, value: tokensOf(encrypted, index, value) };
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
  if (!isOperator(value)) return tokenOf(encrypted, index, value);
  const operand: unknown = value.child ?? value.value;
  switch (value.type) {
    case 'equal':
      return Equal(tokenOf(encrypted, index, operand));
    case 'in':
      return In(listOf(operand).map((item) => tokenOf(encrypted, index, item)));
    case 'any':
      return Any(listOf(operand).map((item) => tokenOf(encrypted, index, item)) as never[]);
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

function exactCondition(
  encrypted: EncryptedColumn,
  index: IndexedColumn,
  value: unknown,
): ExactCondition {
  const matching = (values: readonly unknown[]): ExactCondition => {
    for (const each of values) assertValue(encrypted, each);
    return { kind: 'matches', matches: new ExactMatches(encrypted, index, values) };
  };
  if (!isOperator(value)) return matching([value]);
  const operand: unknown = value.child ?? value.value;
  switch (value.type) {
    case 'equal':
      return matching([operand]);
    case 'in':
    case 'any':
      return matching(listOf(operand));
    case 'isNull':
      return { kind: 'isNull' };
    case 'not':
      return { kind: 'not', operand: exactCondition(encrypted, index, operand) };
    case 'and':
    case 'or':
      return {
        kind: value.type,
        operands: listOf(operand).map((each) => exactCondition(encrypted, index, each)),
      };
    default:
      return refuseOperator(encrypted, value.type);
  }
}

/** The token where the key is in memory, else a promise of it that the query keeps before it runs. */
function tokenOf(encrypted: EncryptedColumn, index: IndexedColumn, value: unknown): unknown {
  if (value === null || value === undefined) return value;
  assertValue(encrypted, value);
  return DeferredToken.tokenOrDeferred(encrypted, index, value);
}

function assertValue(encrypted: EncryptedColumn, value: unknown): void {
  if (typeof value === 'function') {
    refuse(encrypted, 'is compared with an SQL expression', 'Give the value itself');
  }
}

/** IsNull() under any number of Not(). */
function isNullCheck(value: unknown): boolean {
  if (!isOperator(value)) return false;
  if (value.type === 'isNull') return true;
  return value.type === 'not' && isNullCheck(value.child);
}

function isOperator(value: unknown): value is FindOperator<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    (value as { '@instanceof'?: symbol })['@instanceof'] !== undefined &&
    'type' in value
  );
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
  const { entity, property } = encrypted.policy;
  throw new UnsupportedQueryError(`${describeColumn(encrypted)} ${problem}. ${remedy}.`, {
    entity,
    property,
  });
}
