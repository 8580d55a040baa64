import { LABELS } from '../../crypto/labels';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import { KeyUnwrapError } from '../../errors';
import type { KeyBinding } from '../kms-provider';

/** First byte of every key wrapped by Vault. Part of what is stored: never changes its meaning. */
const FORMAT_1 = 0x01;
const HEADER_BYTES = 5;
/**
 * A nonce of 12 bytes, or of 24 for XChaCha20, the key, and a tag of 16. Nothing of another length is
 * sent to decrypt: anybody can encrypt under an RSA key of Transit, but hardly to so few bytes.
 */
const SEALED_BYTES: readonly number[] = [60, 72];

/** A ciphertext of Transit, taken apart. */
export interface TransitCiphertext {
  readonly version: number;
  readonly sealed: Uint8Array;
}

/** Reads `vault:v<version>:<base64>`; undefined for anything else. */
export function parseTransit(text: string): TransitCiphertext | undefined {
  const [, digits = '', base64 = ''] = /^vault:v([1-9]\d{0,8}):([\w+/]+={0,2})$/.exec(text) ?? [];
  const sealed = Buffer.from(base64, 'base64');
  const isWhole = SEALED_BYTES.includes(sealed.length) && sealed.toString('base64') === base64;
  return isWhole ? { version: Number(digits), sealed } : undefined;
}

/** Writes the form that Vault decrypts. */
export function transitText({ version, sealed }: TransitCiphertext): string {
  return `vault:v${String(version)}:${Buffer.from(sealed).toString('base64')}`;
}

/** Writes `0x01 ‖ version(4) ‖ what Vault sealed`, big-endian: one form for one ciphertext. */
export function serialize({ version, sealed }: TransitCiphertext): Uint8Array {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(FORMAT_1, 0);
  header.writeUInt32BE(version, 1);
  return Buffer.concat([header, sealed]);
}

/** @throws {@link KeyUnwrapError} for bytes that {@link serialize} did not write */
export function parseWrapped(wrapped: Uint8Array): TransitCiphertext {
  const bytes = Buffer.from(wrapped);
  const isWhole = bytes[0] === FORMAT_1 && SEALED_BYTES.includes(bytes.length - HEADER_BYTES);
  const version = isWhole ? bytes.readUInt32BE(1) : 0;
  // Transit reads version 0 as 1, and one key would have two forms.
  if (version === 0) {
    throw new KeyUnwrapError('vaultKms: the wrapped key is not of Vault, or is damaged.');
  }
  return { version, sealed: bytes.subarray(HEADER_BYTES) };
}

/** Returns the associated data of a wrapped key, as base64. */
export function associatedData(binding: KeyBinding): string {
  const { application, keyId, keyName, purpose } = binding;
  const parts = [LABELS.vaultWrap, Uint8Array.of(FORMAT_1), application, keyId, keyName, purpose];
  return Buffer.from(lengthPrefixed(parts)).toString('base64');
}
