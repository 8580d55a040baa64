import type { FieldEncryptionErrorDetails } from '../errors';
import {
  DecryptionError,
  FieldEncryptionError,
  MalformedCiphertextError,
  PlaintextFoundError,
  UnsupportedValueError,
} from '../errors';

import { isBoundField } from './field-policy';
import type { FieldPolicy } from './field-policy';

/** For a value that cannot be encrypted or looked up. */
export function unsupportedValue(policy: FieldPolicy, reason: string): UnsupportedValueError {
  return new UnsupportedValueError(
    `${nameOf(policy)}: ${reason}. Nothing was written.`,
    detailsOf(policy),
  );
}

/** For what a sealed value shows of itself, written in its place. */
export function maskWritten(policy: FieldPolicy): UnsupportedValueError {
  return new UnsupportedValueError(
    `${nameOf(policy)}: the mask of a sealed value is written, or a copy of one, as when a form or a mapped object is ` +
      'sent back unchanged. Nothing was written. Leave the property out of what is written unless it was changed.',
    detailsOf(policy),
  );
}

/** For a column that holds something that no version of this library wrote. */
export function plaintextFound(policy: FieldPolicy): PlaintextFoundError {
  return new PlaintextFoundError(
    `${nameOf(policy)}: the column holds a value that is not encrypted. ` +
      'List the property in `legacyPlaintext` to read such rows, and encrypt them: `field-encryption data encrypt`.',
    detailsOf(policy),
  );
}

/** For a damaged ciphertext, or one of an unknown format. */
export function malformedCiphertext(
  policy: FieldPolicy,
  reason: string,
  keyId?: string,
): MalformedCiphertextError {
  return new MalformedCiphertextError(
    `${nameOf(policy)}: the stored ciphertext is malformed, ${reason}. ` +
      'Check that the column is wide enough and of an unchanged type, or restore the row.',
    detailsOf(policy, keyId),
  );
}

/** For a ciphertext that does not authenticate. */
export function doesNotAuthenticate(policy: FieldPolicy, keyId: string): DecryptionError {
  return new DecryptionError(
    `${nameOf(policy)}: the ciphertext does not authenticate under key ${keyId}. It was changed, ` +
      `or belongs to another ${isBoundField(policy) ? 'row, ' : ''}field or application. Restore the row, or check ` +
      "`application` and the column's `id`. `field-encryption data verify` names such rows.",
    detailsOf(policy, keyId),
  );
}

/** For a ciphertext that is not bound to its row, in a field whose values are. */
export function notBound(policy: FieldPolicy, keyId: string): DecryptionError {
  return new DecryptionError(
    `${nameOf(policy)}: the ciphertext is not bound to its row (key ${keyId}), as values are since the property ` +
      `has \`bindTo\`. If it is older, list the property in \`legacyUnbound\` and run: ` +
      'field-encryption data reencrypt. If no such rows are left, somebody has put it there.',
    detailsOf(policy, keyId),
  );
}

/** A value is under a common key, and the field has keys of scopes. To callers, a {@link DecryptionError} like any other. */
export class CommonKeyError extends DecryptionError {
  override readonly name = 'DecryptionError';
}

/** For a value under a common key, in a field whose values have keys of scopes. */
export function notScoped(policy: FieldPolicy, keyId: string): DecryptionError {
  return new CommonKeyError(
    `${nameOf(policy)}: the ciphertext is under the common key ${keyId}, and values of the property have keys of ` +
      'their scope. If it is older, list the property in `legacyScope` and run: field-encryption data reencrypt. ' +
      'If no such rows are left, somebody has put it there.',
    detailsOf(policy, keyId),
  );
}

/** For a bound value without its row. */
export function rowUnknown(policy: FieldPolicy): UnsupportedValueError {
  return new UnsupportedValueError(
    `${nameOf(policy)}: values are bound to ${policy.boundTo.join(' and ')} of their row, which is not known here. ` +
      `Give the row: { row: { ${policy.boundTo.join(', ')} } }.`,
    detailsOf(policy),
  );
}

/** For a genuine ciphertext of something else than a value of the declared type. */
export function doesNotDecode(policy: FieldPolicy, keyId: string, reason: string): DecryptionError {
  return new DecryptionError(
    `${nameOf(policy)}: the value cannot be decoded, ${reason} (key ${keyId}). ` +
      'Declare the type it was written with, or convert the column.',
    detailsOf(policy, keyId),
  );
}

/** Names the field that needed a key in the error that the keys threw. */
export function keyUnusable(policy: FieldPolicy, error: unknown): unknown {
  if (!(error instanceof FieldEncryptionError) || error.entity !== undefined) return error;
  const NamedError = error.constructor as new (
    message: string,
    details: FieldEncryptionErrorDetails & { retryable: boolean },
  ) => FieldEncryptionError;
  return new NamedError(`${nameOf(policy)}: ${error.message}`, {
    ...detailsOf(policy, error.keyId),
    retryable: error.retryable,
    cause: error,
  });
}

function nameOf({ entity, property }: FieldPolicy): string {
  return `${entity}.${property}`;
}

function detailsOf({ entity, property }: FieldPolicy, keyId?: string): FieldEncryptionErrorDetails {
  return keyId === undefined ? { entity, property } : { entity, property, keyId };
}
