import { gcmsiv } from '@noble/ciphers/aes.js';

import { requireAeadKey } from './cipher-suite';
import { NobleAead } from './noble-aead';
import { RANDOM_NONCES } from './nonces';

const NONCE_BYTES = 12;

/**
 * AES-256-GCM-SIV (RFC 8452): a repeated nonce reveals no more than that two values are equal.
 * Through noble-ciphers, since OpenSSL 3.0 has none; some 20 times slower than the other suites.
 *
 * @throws RangeError when `key` is not 32 bytes long
 */
export function createAes256GcmSiv(key: Uint8Array): NobleAead {
  requireAeadKey(key);
  return new NobleAead('aes-256-gcm-siv', NONCE_BYTES, gcmsiv, key, RANDOM_NONCES);
}
