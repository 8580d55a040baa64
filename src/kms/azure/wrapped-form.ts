import { KeyUnwrapError } from '../../errors';

/** Algorithms that a data key is wrapped with. */
export type KeyWrapName = 'RSA-OAEP-256' | 'A256KW';

interface KeyWrap {
  /** Part of what is stored: never changes its meaning. */
  readonly id: number;
  readonly name: KeyWrapName;
  /** Types of the keys it is for. */
  readonly keyTypes: readonly string[];
  readonly minBytes: number;
  readonly maxBytes: number;
}

/** RSA of 2048 to 4096 bits, and AES key wrap (RFC 3394) of 32 bytes. */
export const KEY_WRAPS: readonly KeyWrap[] = [
  { id: 1, name: 'RSA-OAEP-256', keyTypes: ['RSA', 'RSA-HSM'], minBytes: 256, maxBytes: 512 },
  { id: 2, name: 'A256KW', keyTypes: ['oct', 'oct-HSM'], minBytes: 40, maxBytes: 40 },
];

/** A wrapped key, taken apart. */
export interface WrappedForm {
  readonly algorithm: KeyWrapName;
  /** Version of the KEK, 32 hexadecimal digits. */
  readonly version: string;
  readonly body: Uint8Array;
}

/** First byte of what is stored. Never changes its meaning. */
const FORMAT_1 = 0x01;
const HEADER_BYTES = 18;

/** Writes `0x01 ‖ algorithm(1) ‖ version of the KEK(16) ‖ what Key Vault wrapped`; undefined where that has another length. */
export function serialize({ algorithm, version, body }: WrappedForm): Uint8Array | undefined {
  const keyWrap = KEY_WRAPS.find(({ name }) => name === algorithm);
  const versionBytes = Buffer.from(version, 'hex');
  if (keyWrap === undefined || !fits(keyWrap, body) || versionBytes.length !== 16) return undefined;
  return Buffer.concat([Uint8Array.of(FORMAT_1, keyWrap.id), versionBytes, body]);
}

/** @throws {@link KeyUnwrapError} for bytes that {@link serialize} did not write */
export function parse(wrapped: Uint8Array): WrappedForm {
  const bytes = Buffer.from(wrapped);
  const keyWrap = KEY_WRAPS.find(({ id }) => id === bytes[1]);
  const body = bytes.subarray(HEADER_BYTES);
  if (bytes[0] !== FORMAT_1 || keyWrap === undefined || !fits(keyWrap, body)) {
    throw new KeyUnwrapError('azureKms: the wrapped key is not of Key Vault, or is damaged.');
  }
  return {
    algorithm: keyWrap.name,
    version: bytes.subarray(2, HEADER_BYTES).toString('hex'),
    body,
  };
}

function fits({ minBytes, maxBytes }: KeyWrap, body: Uint8Array): boolean {
  return body.length >= minBytes && body.length <= maxBytes;
}
