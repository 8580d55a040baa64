import { backendChoice } from './backend';
import type { CipherSuite } from './cipher-suite';
import type { NativeDataKey } from './native';
import type { NonceMode } from './nonces';
import { hedgingKey } from './nonces';
import { wipe } from './wipe';

/** How nonces come about where nothing is said of it: hedged where that costs little, in the add-on. */
export function defaultNonces(suite: CipherSuite): NonceMode {
  const isNative = suite === 'xaes-256-gcm' && backendChoice().native !== undefined;
  return isNative ? 'hedged' : 'random';
}

/**
 * The data key in the add-on, where that is the backend and has the suite. Copies the bytes, which the
 * caller wipes.
 *
 * @param header - the bytes that begin every ciphertext under the key
 */
export function nativeDataKey(
  suite: CipherSuite,
  key: Uint8Array,
  header: Uint8Array,
  nonces: NonceMode,
): NativeDataKey | undefined {
  const { native } = backendChoice();
  if (native === undefined) return undefined;
  if (nonces === 'random') return native.dataKey(suite, key, header, undefined);
  const nonceKey = hedgingKey(key);
  try {
    return native.dataKey(suite, key, header, nonceKey);
  } finally {
    wipe(nonceKey);
  }
}
