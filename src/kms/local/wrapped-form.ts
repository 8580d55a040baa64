import { KeyUnwrapError } from '../../errors';
import type { ScryptParameters } from './scrypt-parameters';

/** First byte of a key wrapped under a passphrase. Part of what is stored: never changes its meaning. */
const UNDER_PASSPHRASE = 0x01;
/** First byte of a key wrapped under a key file. */
const UNDER_KEY_FILE = 0x02;

export const SCRYPT_SALT_BYTES = 16;
const PASSPHRASE_HEADER_BYTES = 4 + SCRYPT_SALT_BYTES;
const KEY_FILE_HEADER_BYTES = 1;

/** The header of a key wrapped under a passphrase: how the KEK was derived. */
export interface PassphraseHeader {
  readonly scrypt: ScryptParameters;
  /** 16 bytes. */
  readonly salt: Uint8Array;
}

/** A wrapped key, taken apart. */
export interface WrappedForm<H> {
  readonly header: H;
  readonly headerBytes: Uint8Array;
  readonly sealed: Uint8Array;
}

/** Writes `0x01 ‖ logN(1) ‖ r(1) ‖ p(1) ‖ salt(16)`. */
export function passphraseHeader({ scrypt, salt }: PassphraseHeader): Uint8Array {
  return Buffer.concat([Uint8Array.of(UNDER_PASSPHRASE, scrypt.logN, scrypt.r, scrypt.p), salt]);
}

/** Writes `0x02`. */
export function keyFileHeader(): Uint8Array {
  return Uint8Array.of(UNDER_KEY_FILE);
}

/** @throws {@link KeyUnwrapError} for bytes that were not wrapped under a passphrase */
export function parseUnderPassphrase(wrapped: Uint8Array): WrappedForm<PassphraseHeader> {
  const [kind, logN, r, p] = wrapped;
  if (kind === UNDER_KEY_FILE) throw wrongSource('a key file', 'a passphrase');
  if (
    kind !== UNDER_PASSPHRASE ||
    wrapped.length <= PASSPHRASE_HEADER_BYTES ||
    logN === undefined ||
    r === undefined ||
    p === undefined
  ) {
    throw notOurs();
  }
  return {
    header: { scrypt: { logN, r, p }, salt: wrapped.subarray(4, PASSPHRASE_HEADER_BYTES) },
    headerBytes: wrapped.subarray(0, PASSPHRASE_HEADER_BYTES),
    sealed: wrapped.subarray(PASSPHRASE_HEADER_BYTES),
  };
}

/** @throws {@link KeyUnwrapError} for bytes that were not wrapped under a key file */
export function parseUnderKeyFile(wrapped: Uint8Array): WrappedForm<undefined> {
  if (wrapped[0] === UNDER_PASSPHRASE) throw wrongSource('a passphrase', 'a key file');
  if (wrapped[0] !== UNDER_KEY_FILE) throw notOurs();
  return {
    header: undefined,
    headerBytes: wrapped.subarray(0, KEY_FILE_HEADER_BYTES),
    sealed: wrapped.subarray(KEY_FILE_HEADER_BYTES),
  };
}

function wrongSource(stored: string, configured: string): KeyUnwrapError {
  return new KeyUnwrapError(
    `the key was wrapped under ${stored}, and localKms is set up with ${configured}.`,
  );
}

function notOurs(): KeyUnwrapError {
  return new KeyUnwrapError('the wrapped key is not of the local KMS, or is damaged.');
}
