import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';

import { wipe } from './secret-bytes';

/** A private key of Ed25519 (RFC 8032), its bytes out of reach. */
export interface Ed25519Key {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Returns a signature of 64 bytes. */
  readonly sign: (data: Uint8Array) => Uint8Array;
}

export const ED25519_PUBLIC_KEY_BYTES = 32;

/** PKCS #8 and SPKI (RFC 8410) up to the bytes of the key. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
/** The y of points whose order is 8 or less, for which anybody can sign. RFC 8032, section 5.1; little-endian. */
const SMALL_ORDER_Y = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
];

/** Imports the 32 bytes of a seed. Copies them; the caller wipes them. */
export function ed25519Key(seed: Uint8Array): Ed25519Key {
  const pkcs8 = Buffer.concat([PKCS8_PREFIX, seed]);
  try {
    const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
    const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
    return Object.freeze({
      publicKey: spki.subarray(SPKI_PREFIX.length),
      sign: (data: Uint8Array) => sign(null, data, key),
    });
  } finally {
    wipe(pkcs8);
  }
}

/** Whether a signature of some data holds. A public key for which anybody could sign holds for none. */
export function verifyEd25519(
  publicKey: Uint8Array,
  data: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (publicKey.length !== ED25519_PUBLIC_KEY_BYTES || isSmallOrderPoint(publicKey)) return false;
  const spki = Buffer.concat([SPKI_PREFIX, publicKey]);
  try {
    const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
    return verify(null, data, key, signature);
  } catch {
    return false;
  }
}

/** Whether anybody can sign for a point. Its highest bit is not part of y. */
export function isSmallOrderPoint(point: Uint8Array): boolean {
  const y = Buffer.from(point);
  y[y.length - 1] = (y.at(-1) ?? 0) & 0x7f;
  return SMALL_ORDER_Y.includes(y.toString('hex'));
}
