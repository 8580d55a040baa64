import { UnsupportedCipherSuiteError } from '../errors';

import { requireAeadKey } from './cipher-suite';
import type { Aead, CipherSuite } from './cipher-suite';
import { loadGcmSiv, NobleAead } from './noble-aead';
import { noncesFor, RANDOM_NONCES } from './nonces';
import type { NonceMode, Nonces } from './nonces';
import { Xaes256Gcm } from './xaes-256-gcm';
import { createXchacha20Poly1305 } from './xchacha20-poly1305';

const NONCE_BYTES = 12;

/**
 * Creates AES-256-GCM-SIV (RFC 8452): a repeated nonce reveals only that two values are equal. Uses
 * noble-ciphers, since OpenSSL 3.0 lacks it; some 20 times slower than the other suites.
 *
 * @throws RangeError if `key` is not 32 bytes long
 */
export function createAes256GcmSiv(key: Uint8Array): NobleAead {
  requireAeadKey(key);
  return new NobleAead('aes-256-gcm-siv', NONCE_BYTES, loadGcmSiv(), key, RANDOM_NONCES);
}

export { AEAD_KEY_BYTES, AEAD_TAG_BYTES, AeadError } from './cipher-suite';
export type { Aead, CipherSuite } from './cipher-suite';
export type { NonceMode } from './nonces';

const FACTORIES: Readonly<Record<CipherSuite, (key: Uint8Array, nonces: Nonces) => Aead>> = {
  'xaes-256-gcm': (key, nonces) => new Xaes256Gcm(key, nonces),
  'xchacha20-poly1305': (key, nonces) => createXchacha20Poly1305(key, nonces),
  // Hedging is of no use here: a repeated nonce only shows equality.
  'aes-256-gcm-siv': (key) => createAes256GcmSiv(key),
};

/** Whether this version knows a suite that a key record names. */
export function isCipherSuite(name: string): name is CipherSuite {
  return Object.hasOwn(FACTORIES, name);
}

/**
 * Creates the AEAD of a suite for 32 key bytes. Copies what it needs; the caller wipes `keyBytes`.
 *
 * @param nonces - hedged by default; `'random'` for values, where the difference in time shows
 * @throws {@link UnsupportedCipherSuiteError} for a suite that this version does not know
 * @throws RangeError if the key is not 32 bytes long
 */
export function createAead(
  suite: CipherSuite,
  keyBytes: Uint8Array,
  nonces: NonceMode = 'hedged',
): Aead {
  if (!isCipherSuite(suite)) {
    throw new UnsupportedCipherSuiteError(
      `cipher suite "${String(suite)}" is not known to this version; upgrade typeorm-field-encryption`,
    );
  }
  return FACTORIES[suite](keyBytes, noncesFor(nonces, keyBytes));
}
