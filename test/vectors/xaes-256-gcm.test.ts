import { createHash } from 'node:crypto';

import { openBytes } from '../../src/crypto/gcm';
import { Xaes256Gcm } from '../../src/crypto/xaes-256-gcm';
import { sealWithNonce } from '../support/seal-with-nonce';
import { describeSharedVectors, hex } from '../support/shared-vectors';
import type { XaesVectors } from '../support/shared-vectors';

const NONCE_BYTES = 24;
/** No iteration takes more from the generator: key, nonce, two lengths, two strings. */
const MAX_ITERATION_BYTES = 32 + NONCE_BYTES + 2 * (1 + 255);

describeSharedVectors('XAES-256-GCM (C2SP)', 'xaes-256-gcm.json', (known: XaesVectors) => {
  it.each(known.vectors)('gives the known answer for key $key', (vector) => {
    const aead = new Xaes256Gcm(hex(vector.key));
    const plaintext = Buffer.from(vector.plaintextAscii, 'ascii');
    const associatedData = Buffer.from(vector.aadAscii, 'ascii');
    const sealed = sealWithNonce(aead, Buffer.from(vector.nonceAscii), plaintext, associatedData);

    expect(sealed.subarray(NONCE_BYTES).toString('hex')).toBe(vector.ciphertext);
    expect(openBytes(aead, sealed, associatedData)).toEqual(plaintext);
  });

  it('gives the accumulated answer of 10,000 random messages', () => {
    expect(accumulate(10_000)).toBe(known.accumulated.after10000);
  });

  const slow = process.env['SLOW_TESTS'] === '1' ? it : it.skip;
  slow(
    'gives the accumulated answer of 1,000,000 random messages (SLOW_TESTS=1)',
    () => {
      expect(accumulate(1_000_000)).toBe(known.accumulated.after1000000);
    },
    600_000,
  );
});

function accumulate(iterations: number): string {
  const take = shakeReader(iterations * MAX_ITERATION_BYTES);
  const digest = createHash('shake128', { outputLength: 32 });
  for (let iteration = 0; iteration < iterations; iteration += 1) {
    const aead = new Xaes256Gcm(take(32));
    const nonce = take(NONCE_BYTES);
    const plaintext = take(take(1).readUInt8(0));
    const associatedData = take(take(1).readUInt8(0));
    const sealed = sealWithNonce(aead, nonce, plaintext, associatedData);

    if (!openBytes(aead, sealed, associatedData).equals(plaintext))
      throw new Error('does not open');
    digest.update(sealed.subarray(NONCE_BYTES));
  }
  return digest.digest('hex');
}

function shakeReader(bytes: number): (count: number) => Buffer {
  const stream = createHash('shake128', { outputLength: bytes }).digest();
  let used = 0;
  return (count) => {
    used += count;
    return stream.subarray(used - count, used);
  };
}
