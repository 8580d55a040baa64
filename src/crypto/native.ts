import { randomFillSync } from 'node:crypto';
import { createRequire } from 'node:module';

import type { OpenedValue } from '../encoding/value-codec';
import { ConfigurationError } from '../errors';

import type { CipherSuite } from './cipher-suite';
import { hedgingKey } from './nonces';
import type { NonceMode } from './nonces';
import { wipe } from './secret-bytes';

/** What the package `typeorm-field-encryption-native` gives. */
export interface AddOn {
  readonly version: string;
  /** @param random - gives 16 KiB of random bytes */
  start(random: () => Uint8Array): NativeFunctions;
}

/** How the add-on gives an opened value, as it counts them. */
export const NATIVE_FORMS = Object.freeze({
  /** The content, as a string. */
  text: 0,
  /** The content, as a number. */
  float64: 1,
  /** `tag ‖ content`, as a Buffer. */
  raw: 2,
});

export type NativeForm = (typeof NATIVE_FORMS)[keyof typeof NATIVE_FORMS];

/** A longer value is left to JavaScript: the cipher takes so long that the rest does not show. */
export const NATIVE_MAX_BYTES = 8192;

/** Instead of a type tag: what is sealed begins with it. */
export const NO_TYPE_TAG = -1;

/**
 * Encrypts a content to what is stored.
 *
 * @param drawn - a nonce of its full length; given by tests only
 */
export type NativeSeal = (
  content: string | Uint8Array,
  drawn?: Uint8Array,
) => string | Buffer | undefined;

/** Decrypts what is stored. */
export type NativeOpen = (stored: unknown) => OpenedValue | undefined;

/** What a function that seals or opens is bound to, beside the data key. */
export type NativeBinding = [
  associatedData: Uint8Array,
  typeTag: number,
  asText: boolean,
  form: NativeForm,
];

/** A data key in the add-on, which overwrites and frees it when nothing refers to it any more. */
export interface NativeDataKey {
  sealer(...binding: NativeBinding): NativeSeal | undefined;
  opener(...binding: NativeBinding): NativeOpen | undefined;
}

/** Makes the token of a content. */
export type NativeToken = (content: string | Uint8Array) => string | undefined;

/**
 * The functions of the add-on. Each answers `undefined` for what it cannot do, or will not: a value that
 * is too long, text with a lone surrogate, a ciphertext that does not authenticate. JavaScript then does
 * it, or says what is wrong.
 */
export interface NativeFunctions {
  /** `undefined` for a suite that OpenSSL does not have. */
  dataKey(
    suite: string,
    key: Uint8Array,
    header: Uint8Array,
    nonceKey: Uint8Array | undefined,
  ): NativeDataKey | undefined;
  tokens(key: Uint8Array, typeTag: number, bits: number): NativeToken | undefined;
  /** How many functions and keys of it there are; for tests. */
  live(): number;
}

/** What makes ciphertexts of the AES suites and tokens: an add-on in C, or JavaScript over node:crypto. */
export type Backend = 'native' | 'javascript';

/** What was chosen, and why. */
export interface BackendChoice {
  readonly backend: Backend;
  /** The add-on, where that is the backend. */
  readonly native: NativeFunctions | undefined;
  /** Why it is not the backend: that it is not there, is turned off, or the error that it gave. */
  readonly absence: 'not installed' | 'turned off' | Error | undefined;
}

const PACKAGE = 'typeorm-field-encryption-native';
/** The only version that is used: the two share functions that are nobody else's. */
export const ADD_ON_VERSION = '0.1.0';
/** What the add-on asks for at once. */
const RANDOM_BYTES = 16 * 1024;

let chosen: BackendChoice | undefined;

/**
 * The backend of this thread, chosen when it is first asked for.
 *
 * @throws {@link ConfigurationError} when `FIELD_ENCRYPTION_NATIVE` asks for what cannot be had
 */
export function backendChoice(): BackendChoice {
  return (chosen ??= chooseBackend(process.env['FIELD_ENCRYPTION_NATIVE'], requireAddOn));
}

/**
 * Chooses the backend: the add-on where it is installed and can be used. `'0'` turns it off, and with
 * `'1'` nothing else will do.
 *
 * @param load - gives the add-on, or `undefined` where it is not installed
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

/** Why the add-on is not the backend, in a sentence. */
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

/** How nonces come about where nothing is said of it: hedged where that costs little, in the add-on. */
export function defaultNonces(suite: CipherSuite): NonceMode {
  const isNative = suite === 'xaes-256-gcm' && backendChoice().native !== undefined;
  return isNative ? 'hedged' : 'random';
}

/**
 * The data key in the add-on, where that is the backend and has the suite. Copies the bytes, which the
 * caller wipes.
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
