import { UnsupportedValueError } from '../errors';
import type { FieldPolicy } from '../field/field-policy';
import { parseCleartext } from './parse-cleartext';

/**
 * Reads a cleartext row of a column that is being encrypted, as its declared type.
 *
 * @throws {@link UnsupportedValueError} when it does not hold that type.
 */
export function readLegacyPlaintext(policy: FieldPolicy, stored: unknown): unknown {
  const value = parseCleartext(policy, stored as string | Uint8Array);
  if (value !== undefined) return value;
  const { entity, property, type } = policy;
  throw new UnsupportedValueError(
    `${entity}.${property}: a cleartext row does not hold a ${type}. Correct the row.`,
    { entity, property },
  );
}
