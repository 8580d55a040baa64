import { openBytes, sealBytes } from '../../../src/crypto/gcm';
import { RANDOM_NONCES } from '../../../src/crypto/nonces';
import {
  createXchacha20Poly1305,
  SodiumXchacha20Poly1305,
} from '../../../src/crypto/xchacha20-poly1305';
import { NobleAead } from '../../../src/crypto/noble-aead';
import { sealWithNonce } from '../../support/seal-with-nonce';

const KEY = Buffer.alloc(32, 5);
const NONCE = Buffer.alloc(24, 6);
const AD = Buffer.from('associated data');

describe('createXchacha20Poly1305', () => {
  const sodium = createXchacha20Poly1305(KEY, RANDOM_NONCES, 'sodium');
  const noble = createXchacha20Poly1305(KEY, RANDOM_NONCES, 'noble');

  it('takes the implementation it is told to, and sodium-native by itself', () => {
    expect(sodium).toBeInstanceOf(SodiumXchacha20Poly1305);
    expect(noble).toBeInstanceOf(NobleAead);
    expect(createXchacha20Poly1305(KEY)).toBeInstanceOf(SodiumXchacha20Poly1305);
  });

  it.each([0, 1, 63, 64, 65, 4097])(
    'gives the same bytes through either implementation for %i bytes',
    (length) => {
      const plaintext = Buffer.alloc(length, 'x');
      const [a, b] = [sodium, noble].map((aead) => sealWithNonce(aead, NONCE, plaintext, AD));

      expect(a).toEqual(b);
      expect(a && openBytes(noble, a, AD)).toEqual(plaintext);
      expect(b && openBytes(sodium, b, AD)).toEqual(plaintext);
    },
  );

  it('takes empty associated data through either implementation', () => {
    const sealed = sealBytes(sodium, Buffer.of(1), Buffer.alloc(0));
    expect(openBytes(noble, sealed, Buffer.alloc(0))).toEqual(Buffer.of(1));
  });
});
