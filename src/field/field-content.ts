import { encodeContent } from '../encoding/value-codec';
import type { ValueContent } from '../encoding/value-codec';
import { ValueCodecError } from '../encoding/value-codec-error';

import { coerced } from './coercion';
import { maskWritten, unsupportedValue } from './field-errors';
import type { FieldPolicy } from './field-policy';
import { holdsMask, isMask } from './sealed';

/**
 * Returns the content of a value that is to be encrypted.
 *
 * @throws {@link UnsupportedValueError} if it is of another type than the field's, cannot be kept exactly, or is
 * what a sealed value shows of itself
 */
export function fieldContent(policy: FieldPolicy, value: unknown): ValueContent {
  const { type, isSealed } = policy;
  if (isSealed && isMask(value)) throw maskWritten(policy);
  const content = contentOf(policy, value);
  if (isSealed && type === 'json' && holdsMask(content as string)) throw maskWritten(policy);
  return content;
}

function contentOf(policy: FieldPolicy, value: unknown): ValueContent {
  try {
    return encodeContent(policy.type, coerced(policy, value));
  } catch (error) {
    if (!(error instanceof ValueCodecError)) throw error;
    throw unsupportedValue(policy, error.reason);
  }
}
