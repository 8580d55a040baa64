import {
  ConfigurationError,
  FieldEncryptionError,
  KeyUnwrapError,
  KmsUnavailableError,
} from '../../errors';

import { describeFailure, kindOfFailure } from './return-value';

/** Nobody is logged in to the token: not a failure, but a request for the PIN. */
export class NotLoggedIn extends Error {
  override readonly name = 'NotLoggedIn';
}

/** The token refused the PIN, or it was not tried; another attempt could lock the token. */
export class PinRefused extends ConfigurationError {}

/** Whether an error is about a key or settings, and leaves the session usable. */
export function keepsSession(error: unknown): boolean {
  return (
    error instanceof ConfigurationError ||
    error instanceof KeyUnwrapError ||
    error instanceof NotLoggedIn
  );
}

/** Turns an error of the token into one that the port allows. */
export function asKmsError(error: unknown): unknown {
  if (error instanceof FieldEncryptionError || error instanceof NotLoggedIn) return error;
  const said = describeFailure(error);
  if (kindOfFailure(error) === 'not-allowed') {
    return new ConfigurationError(
      `pkcs11Kms: the token does not allow it (${said}). Check what the KEK and the user may do.`,
      { cause: error },
    );
  }
  return new KmsUnavailableError(
    `pkcs11Kms: the token failed (${said}). The next call opens a new session.`,
    { cause: error },
  );
}
