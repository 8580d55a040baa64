import {
  ConfigurationError,
  FieldEncryptionError,
  KeyUnwrapError,
  KmsUnavailableError,
} from '../../errors';
import type { KeyBinding, KmsHealth, WrappedKey } from '../kms-provider';

import { describeFailure } from './return-value';
import { NotLoggedIn, PinRefused } from './token-errors';

/** A request to a thread. Everything here must survive being sent to another thread. */
export type TokenRequest =
  | { readonly kind: 'login'; readonly pin: string }
  | { readonly kind: 'wrap'; readonly key: Uint8Array; readonly binding: KeyBinding }
  | { readonly kind: 'unwrap'; readonly wrapped: Uint8Array; readonly binding: KeyBinding }
  | { readonly kind: 'rotateKek' }
  | { readonly kind: 'health' }
  | { readonly kind: 'close' };

/** The answer to each kind of request. */
export interface TokenAnswers {
  login: undefined;
  wrap: WrappedKey;
  unwrap: Uint8Array;
  /** Reference of the new KEK. */
  rotateKek: string;
  health: KmsHealth;
  close: undefined;
}

export type TokenAnswer = TokenAnswers[TokenRequest['kind']];

export type RequestOf<K extends TokenRequest['kind']> = Extract<TokenRequest, { readonly kind: K }>;

/** An error in a form that can be sent between threads; its class cannot. */
export interface Failure {
  readonly error: 'not-logged-in' | 'pin-refused' | 'configuration' | 'unwrap' | 'unavailable';
  readonly message: string;
  /** The return value of the token. */
  readonly cause: string | undefined;
}

export type Reply =
  | { readonly ok: true; readonly answer: TokenAnswer }
  | { readonly ok: false; readonly failure: Failure };

export function toFailure(error: unknown): Failure {
  if (error instanceof NotLoggedIn) {
    return { error: 'not-logged-in', message: error.message, cause: undefined };
  }
  if (!(error instanceof FieldEncryptionError)) {
    const cause = describeFailure(error);
    return { error: 'unavailable', message: `pkcs11Kms: the token failed (${cause}).`, cause };
  }
  const cause = error.cause === undefined ? undefined : describeFailure(error.cause);
  return { error: failureName(error), message: error.message, cause };
}

export function toError({ error, message, cause }: Failure): Error {
  const details = cause === undefined ? {} : { cause: new Error(cause) };
  switch (error) {
    case 'not-logged-in':
      return new NotLoggedIn(message);
    case 'pin-refused':
      return new PinRefused(message, details);
    case 'configuration':
      return new ConfigurationError(message, details);
    case 'unwrap':
      return new KeyUnwrapError(message, details);
    case 'unavailable':
      return new KmsUnavailableError(message, details);
  }
}

function failureName(error: FieldEncryptionError): Failure['error'] {
  if (error instanceof PinRefused) return 'pin-refused';
  if (error instanceof KeyUnwrapError) return 'unwrap';
  return error instanceof ConfigurationError ? 'configuration' : 'unavailable';
}
