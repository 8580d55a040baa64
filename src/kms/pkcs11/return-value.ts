import { types } from 'node:util';

import { FieldEncryptionError } from '../../errors';

/** Names of the return values in use, by code: some errors of `pkcs11js` have only one of the two. */
const NAMES: ReadonlyMap<number, string> = new Map([
  [0x003, 'CKR_SLOT_ID_INVALID'],
  [0x005, 'CKR_GENERAL_ERROR'],
  [0x012, 'CKR_ATTRIBUTE_TYPE_INVALID'],
  [0x013, 'CKR_ATTRIBUTE_VALUE_INVALID'],
  [0x030, 'CKR_DEVICE_ERROR'],
  [0x032, 'CKR_DEVICE_REMOVED'],
  [0x040, 'CKR_ENCRYPTED_DATA_INVALID'],
  [0x041, 'CKR_ENCRYPTED_DATA_LEN_RANGE'],
  [0x042, 'CKR_AEAD_DECRYPT_FAILED'],
  [0x060, 'CKR_KEY_HANDLE_INVALID'],
  [0x063, 'CKR_KEY_TYPE_INCONSISTENT'],
  [0x068, 'CKR_KEY_FUNCTION_NOT_PERMITTED'],
  [0x070, 'CKR_MECHANISM_INVALID'],
  [0x071, 'CKR_MECHANISM_PARAM_INVALID'],
  [0x082, 'CKR_OBJECT_HANDLE_INVALID'],
  [0x090, 'CKR_OPERATION_ACTIVE'],
  [0x091, 'CKR_OPERATION_NOT_INITIALIZED'],
  [0x0a0, 'CKR_PIN_INCORRECT'],
  [0x0a1, 'CKR_PIN_INVALID'],
  [0x0a2, 'CKR_PIN_LEN_RANGE'],
  [0x0a3, 'CKR_PIN_EXPIRED'],
  [0x0a4, 'CKR_PIN_LOCKED'],
  [0x0b0, 'CKR_SESSION_CLOSED'],
  [0x0b3, 'CKR_SESSION_HANDLE_INVALID'],
  [0x0b5, 'CKR_SESSION_READ_ONLY'],
  [0x0e0, 'CKR_TOKEN_NOT_PRESENT'],
  [0x0e2, 'CKR_TOKEN_WRITE_PROTECTED'],
  [0x100, 'CKR_USER_ALREADY_LOGGED_IN'],
  [0x101, 'CKR_USER_NOT_LOGGED_IN'],
  [0x102, 'CKR_USER_PIN_NOT_INITIALIZED'],
  [0x110, 'CKR_WRAPPED_KEY_INVALID'],
  [0x112, 'CKR_WRAPPED_KEY_LEN_RANGE'],
  [0x190, 'CKR_CRYPTOKI_NOT_INITIALIZED'],
  [0x191, 'CKR_CRYPTOKI_ALREADY_INITIALIZED'],
]);

const SESSION_LOST: ReadonlySet<string> = new Set([
  'CKR_CRYPTOKI_NOT_INITIALIZED',
  'CKR_DEVICE_ERROR',
  'CKR_DEVICE_REMOVED',
  'CKR_KEY_HANDLE_INVALID',
  'CKR_OBJECT_HANDLE_INVALID',
  'CKR_OPERATION_ACTIVE',
  'CKR_OPERATION_NOT_INITIALIZED',
  'CKR_SESSION_CLOSED',
  'CKR_SESSION_HANDLE_INVALID',
  'CKR_SLOT_ID_INVALID',
  'CKR_TOKEN_NOT_PRESENT',
  'CKR_USER_NOT_LOGGED_IN',
]);

/** Those of them that may come from the token after it received the request. */
const OUT_OF_REACH: ReadonlySet<string> = new Set([
  'CKR_DEVICE_ERROR',
  'CKR_DEVICE_REMOVED',
  'CKR_TOKEN_NOT_PRESENT',
]);

const TAMPERED: ReadonlySet<string> = new Set([
  'CKR_AEAD_DECRYPT_FAILED',
  'CKR_ENCRYPTED_DATA_INVALID',
  'CKR_ENCRYPTED_DATA_LEN_RANGE',
  'CKR_WRAPPED_KEY_INVALID',
  'CKR_WRAPPED_KEY_LEN_RANGE',
]);

const PIN_REFUSED: ReadonlySet<string> = new Set([
  'CKR_PIN_EXPIRED',
  'CKR_PIN_INCORRECT',
  'CKR_PIN_INVALID',
  'CKR_PIN_LEN_RANGE',
  'CKR_PIN_LOCKED',
  'CKR_USER_PIN_NOT_INITIALIZED',
]);

const NOT_ALLOWED: ReadonlySet<string> = new Set([
  'CKR_ATTRIBUTE_VALUE_INVALID',
  'CKR_KEY_FUNCTION_NOT_PERMITTED',
  'CKR_KEY_TYPE_INCONSISTENT',
  'CKR_MECHANISM_INVALID',
  'CKR_MECHANISM_PARAM_INVALID',
  'CKR_SESSION_READ_ONLY',
  'CKR_TOKEN_WRITE_PROTECTED',
]);

/** The meaning of a return value for the caller. */
export type FailureKind = 'session-lost' | 'tampered' | 'pin-refused' | 'not-allowed' | 'unclear';

/**
 * Finds the return value behind an error of `pkcs11js`, such as `CKR_GENERAL_ERROR`; `undefined` for an
 * error of another origin. The errors come in several shapes, with or without a code.
 */
export function returnValueOf(error: unknown): string | undefined {
  // Errors of this library may quote a return value.
  if (typeof error !== 'object' || error === null || error instanceof FieldEncryptionError) {
    return undefined;
  }
  const code: unknown = Reflect.get(error, 'code');
  const known = typeof code === 'number' ? NAMES.get(code) : undefined;
  if (known !== undefined) return known;
  const message: unknown = Reflect.get(error, 'message');
  const [name] = /CKR_\w+/.exec(typeof message === 'string' ? message : '') ?? [];
  if (name !== undefined) return name;
  return typeof code === 'number' && code > 0 ? `CKR_0x${code.toString(16)}` : undefined;
}

/** Classifies an error; `undefined` if it is not from the token. */
export function kindOfFailure(error: unknown): FailureKind | undefined {
  const name = returnValueOf(error);
  if (name === undefined) return undefined;
  if (SESSION_LOST.has(name)) return 'session-lost';
  if (TAMPERED.has(name)) return 'tampered';
  if (PIN_REFUSED.has(name)) return 'pin-refused';
  return NOT_ALLOWED.has(name) ? 'not-allowed' : 'unclear';
}

/**
 * Whether an error may be due to a damaged key: SoftHSM2 reports one as `CKR_GENERAL_ERROR`, and Kryoptic
 * reports a key that AES Key Wrap does not unwrap as `CKR_DEVICE_ERROR`.
 */
export function mayBeOfTheKey(error: unknown): boolean {
  return kindOfFailure(error) === 'unclear' || returnValueOf(error) === 'CKR_DEVICE_ERROR';
}

/** Whether it is unknown what the token did before it failed. */
export function leavesOpen(error: unknown): boolean {
  const name = returnValueOf(error);
  return kindOfFailure(error) === 'unclear' || (name !== undefined && OUT_OF_REACH.has(name));
}

/** Describes an error in one line: by the return value, or the message of any other error. */
export function describeFailure(error: unknown): string {
  const name = returnValueOf(error);
  if (name !== undefined) return name;
  return types.isNativeError(error) ? error.message : 'unknown failure';
}
