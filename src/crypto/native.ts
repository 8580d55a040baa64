import type { OpenedValue } from '../encoding/value-codec';

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
