import { randomFillSync } from 'node:crypto';
import { createRequire } from 'node:module';

import type { OpenedValue } from '../encoding/value-codec';
import { ConfigurationError } from '../errors';

import type { CipherSuite } from './cipher-suite';
import { hedgingKey } from './nonces';
import type { NonceMode } from './nonces';
import { wipe } from './secret-bytes';

/** The exports of the package `typeorm-field-encryption-native`. */
export interface AddOn {
  readonly version: string;
  /** @param random - returns 16 KiB of random bytes */
  start(random: () => Uint8Array): NativeFunctions;
}

/** The forms in which the add-on returns an opened value, by its numbers. */
export const NATIVE_FORMS = Object.freeze({
  /** The content, as a string. */
  text: 0,
  /** The content, as a number. */
  float64: 1,
  /** `tag ‖ content`, as a Buffer. */
  raw: 2,
});

export type NativeForm = (typeof NATIVE_FORMS)[keyof typeof NATIVE_FORMS];

/** Longer values are left to JavaScript: the cipher takes so long that the overhead does not show. */
export const NATIVE_MAX_BYTES = 8192;

/** Instead of a type tag, for a content that begins with its own. */
export const NO_TYPE_TAG = -1;

/**
 * Encrypts a content to its stored form.
 *
 * @param drawn - a nonce of full length, for tests
 */
export type NativeSeal = (
  content: string | Uint8Array,
  drawn?: Uint8Array,
) => string | Buffer | undefined;

/** Decrypts a stored form. */
export type NativeOpen = (stored: unknown) => OpenedValue | undefined;

/** {@link NativeSeal} for a value that is bound to its row; the context has a character for each byte. */
export type NativeRowSeal = (
  content: string | Uint8Array,
  context: string,
  drawn?: Uint8Array,
) => string | Buffer | undefined;

/** {@link NativeOpen} for a value that is bound to its row. */
export type NativeRowOpen = (stored: unknown, context: string) => OpenedValue | undefined;

/** The context, beside the data key, of a function that seals or opens. */
export type NativeBinding = [
  associatedData: Uint8Array,
  typeTag: number,
  asText: boolean,
  form: NativeForm,
];

/** A data key in the add-on, which overwrites and frees it when the last reference is gone. */
export interface NativeDataKey {
  sealer(...binding: NativeBinding): NativeSeal | undefined;
  opener(...binding: NativeBinding): NativeOpen | undefined;
  /** The associated data go on with the length (u32) of a value's context and the context. */
  rowSealer(...binding: NativeBinding): NativeRowSeal | undefined;
  rowOpener(...binding: NativeBinding): NativeRowOpen | undefined;
}

/** Computes the token of a content. */
export type NativeToken = (content: string | Uint8Array) => string | undefined;

/**
 * The functions of the add-on. Each returns `undefined` for an input that it does not handle: a value that
 * is too long, text with a lone surrogate, a ciphertext that does not authenticate. JavaScript then does
 * the work, or throws the error.
 */
export interface NativeFunctions {
  /** Returns `undefined` for a suite that OpenSSL does not have. */
  dataKey(
    suite: string,
    key: Uint8Array,
    header: Uint8Array,
    nonceKey: Uint8Array | undefined,
  ): NativeDataKey | undefined;
  tokens(key: Uint8Array, typeTag: number, bits: number): NativeToken | undefined;
  /** Returns how many functions and keys it holds, for tests. */
  live(): number;
}

/** The implementation of the AES suites and of tokens: an add-on in C, or JavaScript over node:crypto. */
export type Backend = 'native' | 'javascript';

/** The choice of a backend. */
export interface BackendChoice {
  readonly backend: Backend;
  /** The add-on, if that is the backend. */
  readonly native: NativeFunctions | undefined;
  /** Why the add-on is not the backend. */
  readonly absence: 'not installed' | 'turned off' | Error | undefined;
}

const PACKAGE = 'typeorm-field-encryption-native';
/** The only version that works with this library: their interface is private. */
export const ADD_ON_VERSION = '0.1.0';
/** The bytes that the add-on requests at a time. */
const RANDOM_BYTES = 16 * 1024;

let chosen: BackendChoice | undefined;

/**
 * Returns the backend of this thread, chosen on the first call.
 *
 * @throws {@link ConfigurationError} if `FIELD_ENCRYPTION_NATIVE` demands an add-on that cannot be used
 */
export function backendChoice(): BackendChoice {
  return (chosen ??= chooseBackend(process.env['FIELD_ENCRYPTION_NATIVE'], requireAddOn));
}

/**
 * Chooses the backend: the add-on if it is installed and can be used. `'0'` turns it off, and `'1'`
 * requires it.
 *
 * @param load - returns the add-on, or `undefined` if it is not installed
 */
export function chooseBackend(
  setting: string | undefined,
  load: () => AddOn | undefined,
): BackendChoice {
  if (!['', '0', '1'].includes(setting ?? '')) {
    throw new ConfigurationError(
      'The environment variable FIELD_ENCRYPTION_NATIVE is neither 0 nor 1. Correct it, or leave it out.',
    );
  }
  const choice = setting === '0' ? without('turned off') : tryAddOn(load);
  if (setting !== '1' || choice.backend === 'native') return choice;
  throw new ConfigurationError(
    `FIELD_ENCRYPTION_NATIVE is 1, and the add-on ${PACKAGE} cannot be used: ${reasonOf(choice)} ` +
      'Install it, or leave the variable out to use JavaScript.',
    choice.absence instanceof Error ? { cause: choice.absence } : {},
  );
}

/** Says in a sentence why the add-on is not the backend. */
export function reasonOf({ absence }: BackendChoice): string {
  return absence instanceof Error ? absence.message : `it is ${absence ?? 'in use'}.`;
}

function tryAddOn(load: () => AddOn | undefined): BackendChoice {
  try {
    const addOn = load();
    if (addOn === undefined) return without('not installed');
    requireVersion(addOn);
    const native = addOn.start(() => randomFillSync(Buffer.allocUnsafeSlow(RANDOM_BYTES)));
    return { backend: 'native', native, absence: undefined };
  } catch (error) {
    return without(error instanceof Error ? error : new Error(String(error)));
  }
}

function without(absence: Exclude<BackendChoice['absence'], undefined>): BackendChoice {
  return { backend: 'javascript', native: undefined, absence };
}

function requireVersion({ version }: AddOn): void {
  if (version === ADD_ON_VERSION) return;
  throw new Error(
    `${PACKAGE} is of version ${version}, this library works with ${ADD_ON_VERSION}. ` +
      `Install ${PACKAGE}@${ADD_ON_VERSION}.`,
  );
}

function requireAddOn(): AddOn | undefined {
  const require_ = createRequire(__filename);
  try {
    require_.resolve(PACKAGE);
  } catch {
    return undefined;
  }
  return require_(PACKAGE) as AddOn;
}

/** Returns the default nonce mode: hedged where that costs little, in the add-on. */
export function defaultNonces(suite: CipherSuite): NonceMode {
  const isNative = suite === 'xaes-256-gcm' && backendChoice().native !== undefined;
  return isNative ? 'hedged' : 'random';
}

/**
 * Imports a data key into the add-on, if that is the backend and has the suite. Copies the bytes; the
 * caller wipes them.
 *
 * @param header - the bytes that begin every ciphertext under the key
 */
export function nativeDataKey(
  suite: CipherSuite,
  key: Uint8Array,
  header: Uint8Array,
  nonces: NonceMode,
): NativeDataKey | undefined {
  const { native } = backendChoice();
  if (native === undefined) return undefined;
  if (nonces === 'random') return native.dataKey(suite, key, header, undefined);
  const nonceKey = hedgingKey(key);
  try {
    return native.dataKey(suite, key, header, nonceKey);
  } finally {
    wipe(nonceKey);
  }
}
