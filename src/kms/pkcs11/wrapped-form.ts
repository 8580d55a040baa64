import { LABELS } from '../../crypto/labels';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import { KeyUnwrapError } from '../../errors';
import type { KeyBinding } from '../kms-provider';
import type { KeyWrap } from './key-wrap';
import { KEY_WRAPS } from './key-wrap';

/** First byte of every key wrapped by PKCS #11. Part of what is stored: never changes its meaning. */
const FORMAT_1 = 0x01;
const HEADER_BYTES = 6;

/** A wrapped key, taken apart. */
export interface WrappedForm {
  readonly keyWrap: KeyWrap;
  readonly kekVersion: number;
  readonly header: Uint8Array;
  readonly body: Uint8Array;
}

/** Writes `0x01 ‖ mechanism(1) ‖ version of the KEK(4)`, big-endian. */
export function header(keyWrap: KeyWrap, kekVersion: number): Uint8Array {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUInt8(FORMAT_1, 0);
  bytes.writeUInt8(keyWrap.id, 1);
  bytes.writeUInt32BE(kekVersion, 2);
  return bytes;
}

/** @throws {@link KeyUnwrapError} for bytes that {@link header} does not begin, or of another length */
export function parseWrapped(wrapped: Uint8Array): WrappedForm {
  const keyWrap = KEY_WRAPS.find(({ id }) => id === wrapped[1]);
  const isWhole =
    wrapped[0] === FORMAT_1 && wrapped.length === HEADER_BYTES + (keyWrap?.wrappedBytes ?? 0);
  if (keyWrap === undefined || !isWhole) {
    throw new KeyUnwrapError('the wrapped key is not of a PKCS #11 token, or is damaged.');
  }
  const bytes = Buffer.from(wrapped);
  return {
    keyWrap,
    kekVersion: bytes.readUInt32BE(2),
    header: bytes.subarray(0, HEADER_BYTES),
    body: bytes.subarray(HEADER_BYTES),
  };
}

/** What a wrapped key is bound to. */
export function associatedData(headerBytes: Uint8Array, binding: KeyBinding): Uint8Array {
  const { application, keyId, keyName, purpose } = binding;
  return lengthPrefixed([LABELS.pkcs11Wrap, headerBytes, application, keyId, keyName, purpose]);
}
