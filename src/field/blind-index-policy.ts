import { InvalidFieldPolicyError } from '../errors';

import type { FieldPolicy } from './field-policy';
import type { Normalizer } from './normalizer';

/** Length of a token that is not truncated. */
export const FULL_INDEX_BITS = 256;

/** The settled rules of one blind index on a field. */
export interface BlindIndexPolicy {
  /** Empty for an unnamed one. */
  readonly name: string;
  readonly normalizer: Normalizer;
  /** Length of a truncated token, 1 to 256; `undefined` for the full length. */
  readonly bits: number | undefined;
  readonly unique: boolean;
}

/** @throws {@link InvalidFieldPolicyError} when the field cannot have such an index */
export function requireIndexable(field: FieldPolicy, index: BlindIndexPolicy): void {
  if (field.type === 'json') {
    throw invalid(field, 'a JSON field has no blind index; index a property of its own instead');
  }
  if (field.type !== 'string' && index.normalizer.id !== 'exact') {
    throw invalid(
      field,
      `a blind index on a ${field.type} is "exact"; only strings are normalized`,
    );
  }
  if (index.bits === undefined) return;
  if (!Number.isInteger(index.bits) || index.bits < 1 || index.bits > FULL_INDEX_BITS) {
    throw invalid(field, `bits of a blind index are 1 to ${String(FULL_INDEX_BITS)}`);
  }
  if (index.unique) {
    throw invalid(field, 'a unique blind index cannot be truncated; leave out `bits` or `unique`');
  }
}

function invalid({ entity, property }: FieldPolicy, problem: string): InvalidFieldPolicyError {
  return new InvalidFieldPolicyError(`${entity}.${property}: ${problem}.`, { entity, property });
}
