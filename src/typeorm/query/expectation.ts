import type { EncryptedColumn, IndexedColumn } from '../encrypted-column';
import { composedCondition } from './lookup';
import type { ComposedCondition } from './lookup';

/**
 * What the values of a row must be for the row to belong to a result, as far as a where condition says
 * so of encrypted columns. A condition that says nothing of them, or not for certain, has none.
 */
export type Expectation =
  | ({ readonly kind: 'holds' } & ExpectedValue)
  | { readonly kind: 'all' | 'any'; readonly parts: readonly Expectation[] };

/** An encrypted column that must hold one of some values, as its index compares them. */
export interface ExpectedValue {
  /** The alias that the column is selected by. */
  readonly alias: string;
  readonly encrypted: EncryptedColumn;
  readonly index: IndexedColumn;
  readonly values: readonly unknown[];
}

/**
 * What a condition on an encrypted property lets one expect of the rows it finds. Nothing where tokens
 * are truncated: those are made exact by the lookup itself.
 */
export function expectationOf(
  alias: string,
  encrypted: EncryptedColumn,
  value: unknown,
): Expectation | undefined {
  const [index] = encrypted.indexes;
  if (index === undefined || index.index.isTruncated) return undefined;
  return ofCondition({ alias, encrypted, index }, composedCondition(encrypted, value));
}

function ofCondition(
  place: Omit<ExpectedValue, 'values'>,
  condition: ComposedCondition,
): Expectation | undefined {
  switch (condition.kind) {
    case 'oneOf':
      if (condition.values.length === 0) return undefined;
      return { kind: 'holds', ...place, values: condition.values };
    case 'and':
      return allOf(condition.operands.map((operand) => ofCondition(place, operand)));
    case 'or':
      return anyOf(condition.operands.map((operand) => ofCondition(place, operand)));
    // What is found because it differs may do so in one form of a changing index and not in another.
    case 'not':
    case 'isNull':
      return undefined;
  }
}

/** Of conditions that all hold, those count that say something. */
export function allOf(parts: readonly (Expectation | undefined)[]): Expectation | undefined {
  const known = parts.filter((part) => part !== undefined);
  return known.length > 1 ? { kind: 'all', parts: known } : known[0];
}

/** Of conditions of which one holds, each has to say something. */
export function anyOf(parts: readonly (Expectation | undefined)[]): Expectation | undefined {
  const known = parts.filter((part) => part !== undefined);
  if (known.length < parts.length) return undefined;
  return known.length > 1 ? { kind: 'any', parts: known } : known[0];
}
