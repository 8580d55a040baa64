import { FULL_TOKEN_BITS } from '../crypto/token-mac';
import type { ValueType } from '../encoding/value-codec';
import { InvalidFieldPolicyError } from '../errors';
import type { Storage } from '../format/field-ciphertext';

import type { Normalizer } from './normalizer';

/** The default limit of a value: 16 MiB. */
export const DEFAULT_MAX_VALUE_BYTES = 16 * 1024 * 1024;

/** The checked and frozen rules of one encrypted field. */
export interface FieldPolicy {
  /** Name of the entity, for messages. */
  readonly entity: string;
  /** Property path within the entity, for messages. */
  readonly property: string;
  /** Logical id bound into every ciphertext and index key; stays when classes and columns are renamed. */
  readonly fieldId: string;
  readonly type: ValueType;
  /** Whether values of other types are turned into it where the database did so. */
  readonly coerce: boolean;
  readonly storage: Storage;
  /** Name of the data key that encrypts new values. */
  readonly keyName: string;
  /** Longest encoded value in bytes. */
  readonly maxValueBytes: number;
  /** What every value is bound to beside its field, as messages name it; empty for the field alone. */
  readonly boundTo: readonly string[];
  /** Whether values that are not bound to their row may still be read (`legacyUnbound`). */
  readonly readsUnbound: boolean;
  /** Whether new values have keys of scopes. */
  readonly isScoped: boolean;
  /** Whether values under a common key may still be read, though new ones have keys of scopes (`legacyScope`). */
  readonly readsUnscoped: boolean;
  /** Whether reading gives sealed values, whose mask is then no value (`read: 'sealed'`). */
  readonly isSealed: boolean;
  /** Width of the column in characters (text) or bytes (binary), if it is limited. */
  readonly columnLength: number | undefined;
}

/** Whether values of the field are bound to their rows. */
export function isBoundField({ boundTo }: Pick<FieldPolicy, 'boundTo'>): boolean {
  return boundTo.length > 0;
}

/** The definition that decides, with the keys, which token a value has. */
export interface IndexDefinition {
  readonly normalizer: Normalizer;
  /** Length of a truncated token, 1 to 256; `undefined` for the full length. */
  readonly bits: number | undefined;
}

/** The checked rules of one blind index on a field. */
export interface BlindIndexPolicy extends IndexDefinition {
  /** Empty for an unnamed one. */
  readonly name: string;
  /** Whether no two rows may have the same token, alone or together with other columns. */
  readonly unique: boolean;
  /** Definitions that stored tokens may still, or already, have been made by. */
  readonly previous: readonly IndexDefinition[];
}

/** @throws {@link InvalidFieldPolicyError} if the field cannot have such an index */
export function requireIndexable(field: FieldPolicy, index: BlindIndexPolicy): void {
  if (field.type === 'json') {
    throw invalid(field, 'a JSON field has no blind index; index a property of its own instead');
  }
  const definitions = [index, ...index.previous];
  for (const definition of definitions) requireDefinition(field, definition);
  if (new Set(definitions.map(identityOf)).size < definitions.length) {
    throw invalid(
      field,
      '`previous` of a blind index names a definition twice, or the present one',
    );
  }
  if (index.unique && index.bits !== undefined) {
    throw invalid(
      field,
      'a unique blind index cannot be truncated; leave out `bits`, or `unique` and `uniqueWith`',
    );
  }
}

function requireDefinition(field: FieldPolicy, { normalizer, bits }: IndexDefinition): void {
  if (field.type !== 'string' && normalizer.id !== 'exact') {
    throw invalid(
      field,
      `a blind index on a ${field.type} is "exact"; only strings are normalized`,
    );
  }
  if (bits === undefined) return;
  if (!Number.isInteger(bits) || bits < 1 || bits > FULL_TOKEN_BITS) {
    throw invalid(field, `bits of a blind index are 1 to ${String(FULL_TOKEN_BITS)}`);
  }
}

function identityOf({ normalizer, bits = FULL_TOKEN_BITS }: IndexDefinition): string {
  return JSON.stringify([normalizer.id, normalizer.version, bits]);
}

function invalid({ entity, property }: FieldPolicy, problem: string): InvalidFieldPolicyError {
  return new InvalidFieldPolicyError(`${entity}.${property}: ${problem}.`, { entity, property });
}
