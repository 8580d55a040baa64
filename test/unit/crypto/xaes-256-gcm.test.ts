import { openBytes, sealBytes } from '../../../src/crypto/gcm';
import { RANDOM_NONCES } from '../../../src/crypto/nonces';
import { Xaes256Gcm } from '../../../src/crypto/xaes-256-gcm';
import { sealWithNonce } from '../../support/seal-with-nonce';

const AD = Buffer.alloc(0);

function seal(aead: Xaes256Gcm): Buffer {
  return sealBytes(aead, Buffer.of(1), AD);
}

describe('Xaes256Gcm', () => {
  it('gives the known answer of the specification', () => {
    const aead = new Xaes256Gcm(Buffer.alloc(32, 3));
    const sealed = sealWithNonce(
      aead,
      Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWX'),
      Buffer.from('XAES-256-GCM'),
      Buffer.from('c2sp.org/XAES-256-GCM'),
    );
    expect(sealed.toString('hex', 24)).toBe(
      '986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d',
    );
  });

  it('keeps one nonce prefix for exactly as many messages as it may, and no more', () => {
    const aead = new Xaes256Gcm(Buffer.alloc(32, 1), RANDOM_NONCES, 3);
    const prefixes = Array.from({ length: 7 }, () => seal(aead).toString('hex', 0, 12));
    const [first, , , second, , , third] = prefixes;

    expect(prefixes).toEqual([first, first, first, second, second, second, third]);
    expect(new Set(prefixes).size).toBe(3);
  });

  it('draws the second half of the nonce for each message', () => {
    const aead = new Xaes256Gcm(Buffer.alloc(32, 1));
    const tails = Array.from({ length: 50 }, () => seal(aead).toString('hex', 12, 24));
    expect(new Set(tails).size).toBe(50);
  });

  it('gives each instance a prefix of its own', () => {
    const [a, b] = [0, 1].map(() => seal(new Xaes256Gcm(Buffer.alloc(32, 1))));
    expect(a?.subarray(0, 12)).not.toEqual(b?.subarray(0, 12));
  });

  it('reads messages of more writers than it keeps keys for', () => {
    const messages = Array.from({ length: 1500 }, () => seal(new Xaes256Gcm(Buffer.alloc(32, 1))));
    const reader = new Xaes256Gcm(Buffer.alloc(32, 1));
    for (const message of [...messages, ...messages]) {
      expect(openBytes(reader, message, AD)).toEqual(Buffer.of(1));
    }
  });
});
