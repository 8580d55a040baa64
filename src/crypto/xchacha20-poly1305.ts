import type { NonceChoosingAead } from './cipher-suite';
import { requireAeadKey } from './cipher-suite';
import { loadSodium } from './sodium';
import { NobleXchacha20Poly1305 } from './xchacha20-noble';
import { SodiumXchacha20Poly1305 } from './xchacha20-sodium';

/**
 * XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) through `sodium-native` where it can be loaded
 * and through noble-ciphers where it cannot: the same bytes, some 30 times as fast.
 *
 * `implementation` is chosen by tests only.
 *
 * @throws RangeError when `key` is not 32 bytes long
 */
export function createXchacha20Poly1305(
  key: Uint8Array,
  implementation?: 'sodium' | 'noble',
): NonceChoosingAead {
  requireAeadKey(key);
  const sodium = implementation === 'noble' ? undefined : loadSodium();
  if (sodium !== undefined) return new SodiumXchacha20Poly1305(sodium, key);
  if (implementation === 'sodium') throw new Error('sodium-native cannot be loaded');
  return new NobleXchacha20Poly1305(key);
}
