import { ConfigurationError, FieldEncryptionError, KmsUnavailableError } from '../errors';
import type { KeyEvent } from './key-event';
import type { KeyPurpose } from './key-record';

/** Makes a typed error of whatever kept a key from being loaded. */
export function typedFailure(keyLabel: string, failure: unknown): FieldEncryptionError {
  if (failure instanceof FieldEncryptionError) return failure;
  return new KmsUnavailableError(`${keyLabel} could not be loaded; see the cause`, {
    cause: failure,
  });
}

/** For a key that was in memory and has reached its maximum age. */
export function notConfirmedInTime(keyLabel: string, maxAgeMs: number): KmsUnavailableError {
  return new KmsUnavailableError(
    `${keyLabel} was not confirmed by the KMS for ${String(maxAgeMs)} ms (keyCache.maxAgeMs) and ` +
      'is not used until it is.',
  );
}

/** For what was still loading when its manager was closed. */
export function closedMeanwhile(): ConfigurationError {
  return new ConfigurationError(
    'field encryption was shut down while keys were loading; initialize the DataSource again',
  );
}

/** The event that tells of a failure. */
export function loadFailed(
  purpose: KeyPurpose,
  key: { readonly id?: string; readonly name?: string },
  failure: unknown,
): KeyEvent {
  return {
    type: 'keyLoadFailed',
    purpose,
    keyId: key.id,
    keyName: key.name,
    code: failure instanceof FieldEncryptionError ? failure.code : undefined,
  };
}
