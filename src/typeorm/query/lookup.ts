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
  /** Equality through truncated tokens, to be narrowed to exact matches. */
  | {
      readonly kind: 'exact';
      readonly negated: boolean;
      readonly index: IndexedColumn;
      readonly matches: ExactMatches;
    };

/**
 * Rewrites the value of a where condition, which may be a tree of find operators.
 *
 * Returns new operators and leaves the caller's alone, since TypeORM users share them between queries.
 * Throws {@link UnsupportedQueryError} for what a keyed hash cannot answer.
 */
export function rewriteCondition(encrypted: EncryptedColumn, value: unknown): Lookup {
  if (isNullCheck(value)) return { kind: 'unchanged' };
  const index = indexFor(encrypted);
  if (index.policy.bits !== undefined) return exactLookup(encrypted, index, value);
  return { kind: 'tokens', index, value: tokensOf(encrypted, index, value) };
}

function indexFor(encrypted: EncryptedColumn): IndexedColumn {
  const [index] = encrypted.indexes;
  if (index !== undefined) return index;
  return refuse(
    encrypted,
    'is encrypted and has no blind index, so no condition on it can be answered',
    'Add @BlindIndex() beside @Encrypted(), then run data reindex for existing rows',
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

function exactLookup(encrypted: EncryptedColumn, index: IndexedColumn, value: unknown): Lookup {
  if (!isOperator(value)) return exactOf(encrypted, index, [value], false);
  const operand: unknown = value.child ?? value.value;
  switch (value.type) {
    case 'equal':
      return exactOf(encrypted, index, [operand], false);
    case 'in':
    case 'any':
      return exactOf(encrypted, index, listOf(operand), false);
    case 'not': {
      const inner = exactLookup(encrypted, index, operand);
      if (inner.kind === 'exact') return { ...inner, negated: !inner.negated };
      return inner.kind === 'tokens' ? { ...inner, value: Not(inner.value) } : inner;
    }
    case 'and':
    case 'or':
      return refuse(
        encrypted,
        `is looked up through a truncated blind index, which has no ${value.type}()`,
        'Use In(), or write the conditions as an array of where objects',
      );
    default:
      return refuseOperator(encrypted, value.type);
  }
}

function exactOf(
  encrypted: EncryptedColumn,
  index: IndexedColumn,
  values: readonly unknown[],
  negated: boolean,
): Lookup {
  if (values.length === 0) return { kind: 'tokens', index, value: In([]) };
  for (const value of values) assertValue(encrypted, value);
  return { kind: 'exact', negated, index, matches: new ExactMatches(encrypted, index, values) };
}

/** The token where the key is in memory, else a promise of it that the query keeps before it runs. */
function tokenOf(encrypted: EncryptedColumn, index: IndexedColumn, value: unknown): unknown {
  if (value === null) return null;
  assertValue(encrypted, value);
  return DeferredToken.tokenOrDeferred(index.index, value);
}

function assertValue(encrypted: EncryptedColumn, value: unknown): void {
  if (value === undefined) {
    refuse(encrypted, 'is compared with undefined', 'Leave the condition out, or use IsNull()');
  }
  if (typeof value === 'function') {
    refuse(encrypted, 'is compared with an SQL expression', 'Give the value itself');
  }
}

function isNullCheck(value: unknown): boolean {
  if (value === null) return true;
  if (!isOperator(value)) return false;
  if (value.type === 'isNull') return true;
  return value.type === 'not' && isNullCheck(value.child ?? value.value);
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
