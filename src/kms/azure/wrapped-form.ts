import { LABELS } from '../../crypto/labels';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import { KeyUnwrapError } from '../../errors';
import { BOUND_BYTES } from '../key-bytes';
import type { KeyBinding } from '../kms-provider';

/** An algorithm to wrap data keys with. */
export type KeyWrapName = 'RSA-OAEP-256' | 'A256KW';

interface KeyWrap {
  /** Part of what is stored: never changes its meaning. */
  readonly id: number;
  readonly name: KeyWrapName;
  /** Types of the keys that it is for. */
  readonly keyTypes: readonly string[];
  readonly minBytes: number;
  readonly maxBytes: number;
  /** Whether a public key suffices to wrap, so that wrapped bytes prove nothing without a signature. */
  readonly isPublic: boolean;
}

const RSA_BYTES = { minBytes: 256, maxBytes: 512 } as const;

/** Size of AES key wrap (RFC 3394) of 32 bytes. */
export const AES_WRAP_BYTES = 40;
const AES_BYTES = AES_WRAP_BYTES + BOUND_BYTES;

/** RSA of 2048 to 4096 bits, and AES key wrap of an inner key under which the data key is sealed. */
export const KEY_WRAPS: readonly KeyWrap[] = [
  { id: 1, name: 'RSA-OAEP-256', keyTypes: ['RSA', 'RSA-HSM'], ...RSA_BYTES, isPublic: true },
  {
    id: 3,
    name: 'A256KW',
    keyTypes: ['oct', 'oct-HSM'],
    minBytes: AES_BYTES,
    maxBytes: AES_BYTES,
    isPublic: false,
  },
];

/** The key that signed: the KEK that wrapped, or the one of `signingKeyId`. */
export type SignerName = 'kek' | 'signingKey';

/** A signature over a wrapped key. */
export interface Signature {
  readonly signer: SignerName;
  /** Version of the key that signed, 32 hexadecimal digits. */
  readonly version: string;
  readonly bytes: Uint8Array;
}

/** A wrapped key, taken apart. */
export interface WrappedForm {
  readonly algorithm: KeyWrapName;
  /** Version of the KEK, 32 hexadecimal digits. */
  readonly version: string;
  readonly body: Uint8Array;
  /** Undefined under a symmetric key, and for what was wrapped under a public key before there were signatures. */
  readonly signature: Signature | undefined;
}

/** First byte of what is stored, without and with a signature. Never change their meaning. */
const FORMAT_1 = 0x01;
const FORMAT_2 = 0x02;
/** Ids of the signers. Part of what is stored: never change their meaning. */
const SIGNER_IDS: Readonly<Record<SignerName, number>> = { kek: 0, signingKey: 1 };
const HEADER_BYTES = 18;
const SIGNATURE_HEADER_BYTES = 19;

/**
 * Writes `0x01 ‖ algorithm(1) ‖ version of the KEK(16) ‖ what Key Vault wrapped`. With a signature the
 * first byte is `0x02`, and `signer(1) ‖ version of the signing key(16) ‖ length of what was wrapped(2)`
 * come before what Key Vault wrapped, and the signature after it. Returns undefined if a part has the
 * wrong length.
 */
export function serialize({
  algorithm,
  version,
  body,
  signature,
}: WrappedForm): Uint8Array | undefined {
  const keyWrap = KEY_WRAPS.find(({ name }) => name === algorithm);
  const kek = versionBytes(version);
  if (keyWrap === undefined || !fits(keyWrap, body) || kek === undefined) return undefined;
  if (signature === undefined) {
    return Buffer.concat([Uint8Array.of(FORMAT_1, keyWrap.id), kek, body]);
  }
  const signer = versionBytes(signature.version);
  if (signer === undefined || !fits(RSA_BYTES, signature.bytes)) return undefined;
  const bodyLength = Buffer.alloc(2);
  bodyLength.writeUInt16BE(body.length);
  return Buffer.concat([
    Uint8Array.of(FORMAT_2, keyWrap.id),
    kek,
    Uint8Array.of(SIGNER_IDS[signature.signer]),
    signer,
    bodyLength,
    body,
    signature.bytes,
  ]);
}

/** @throws {@link KeyUnwrapError} for bytes that {@link serialize} did not write */
export function parse(wrapped: Uint8Array): WrappedForm {
  const bytes = Buffer.from(wrapped);
  const keyWrap = KEY_WRAPS.find(({ id }) => id === bytes[1]);
  const rest = bytes.subarray(HEADER_BYTES);
  const parts = bytes[0] === FORMAT_1 ? { body: rest, signature: undefined } : readSigned(bytes);
  const isWhole =
    keyWrap !== undefined &&
    parts !== undefined &&
    fits(keyWrap, parts.body) &&
    (keyWrap.isPublic || parts.signature === undefined);
  if (!isWhole) {
    throw new KeyUnwrapError('azureKms: the wrapped key is not of Key Vault, or is damaged.');
  }
  const version = bytes.subarray(2, HEADER_BYTES).toString('hex');
  return { algorithm: keyWrap.name, version, ...parts };
}

/** Returns the associated data of a key wrapped under a symmetric key. */
export function associatedData(
  { algorithm, version }: Pick<WrappedForm, 'algorithm' | 'version'>,
  { application, keyId, keyName, purpose }: KeyBinding,
): Uint8Array {
  const binding = [application, keyId, keyName, purpose];
  return lengthPrefixed([LABELS.azureWrap, algorithm, version, ...binding]);
}

/** Whether a form that unwraps, and whose signature is valid, can only have been made with use of the KEK. */
export function isAuthenticated({ algorithm, signature }: WrappedForm): boolean {
  return signature !== undefined || !isPublic(algorithm);
}

/** Whether a public key suffices to wrap with an algorithm. */
export function isPublic(algorithm: KeyWrapName): boolean {
  return KEY_WRAPS.some((keyWrap) => keyWrap.name === algorithm && keyWrap.isPublic);
}

function readSigned(bytes: Buffer): Pick<WrappedForm, 'body' | 'signature'> | undefined {
  const start = HEADER_BYTES + SIGNATURE_HEADER_BYTES;
  if (bytes[0] !== FORMAT_2 || bytes.length < start) return undefined;
  const signer = (['kek', 'signingKey'] as const).find(
    (name) => SIGNER_IDS[name] === bytes[HEADER_BYTES],
  );
  const end = start + bytes.readUInt16BE(start - 2);
  const signature = bytes.subarray(end);
  if (signer === undefined || !fits(RSA_BYTES, signature)) return undefined;
  const version = bytes.subarray(HEADER_BYTES + 1, start - 2).toString('hex');
  return { body: bytes.subarray(start, end), signature: { signer, version, bytes: signature } };
}

function fits({ minBytes, maxBytes }: typeof RSA_BYTES | KeyWrap, body: Uint8Array): boolean {
  return body.length >= minBytes && body.length <= maxBytes;
}

function versionBytes(version: string): Buffer | undefined {
  const bytes = Buffer.from(version, 'hex');
  return bytes.length === 16 ? bytes : undefined;
}
