import {
  ConfigurationError,
  FieldEncryptionError,
  KeyUnwrapError,
  KmsUnavailableError,
} from '../../errors';

import { describeFailure, kindOfFailure } from './return-value';

/** Nobody is logged in to the token: not a failure, but the question for the PIN. */
export class NotLoggedIn extends Error {
  override readonly name = 'NotLoggedIn';
}

/** The token refused the PIN, or would not be asked; trying again could lock it. */
export class PinRefused extends ConfigurationError {}

/** Whether an error is about keys and settings, and leaves the session as it was. */
export function keepsSession(error: unknown): boolean {
  return (
    error instanceof ConfigurationError ||
    error instanceof KeyUnwrapError ||
    error instanceof NotLoggedIn
  );
}

/** What the token says, in our terms. */
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
