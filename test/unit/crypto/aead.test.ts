import { inspect } from 'node:util';

import type { CipherSuite } from '../../../src/crypto/aead';
import { AeadError, createAead, isCipherSuite } from '../../../src/crypto/aead';
import { UnsupportedCipherSuiteError } from '../../../src/errors';
import { SUITES, thrownBy } from '../../support/field-fixtures';

const KEY = Buffer.alloc(32, 7);
const MESSAGE = Buffer.from('0123456789');
const AD = Buffer.from('associated');

function seal(suite: CipherSuite, plaintext: Buffer = MESSAGE, associatedData = AD): Buffer {
  const aead = createAead(suite, KEY);
  const target = Buffer.alloc(aead.nonceBytes + plaintext.length + aead.tagBytes);
  aead.seal(plaintext, associatedData, target, 0);
  return target;
}

describe.each(SUITES)('createAead(%s)', (suite) => {
  const aead = createAead(suite, KEY);

  it.each([0, 1, 10, 5000])('opens what it sealed, %i bytes long', (length) => {
    const plaintext = Buffer.alloc(length, 3);
    expect(aead.open(seal(suite, plaintext), 0, AD)).toEqual(plaintext);
  });

  it('opens it with another instance of the same key', () => {
    expect(createAead(suite, KEY).open(seal(suite), 0, AD)).toEqual(MESSAGE);
  });

  it('writes at the offset and leaves the rest of the target alone', () => {
    const sealedBytes = aead.nonceBytes + MESSAGE.length + aead.tagBytes;
    const target = Buffer.alloc(5 + sealedBytes + 5, 0xee);
    aead.seal(MESSAGE, AD, target, 5);

    expect(target.subarray(0, 5)).toEqual(Buffer.alloc(5, 0xee));
    expect(target.subarray(5 + sealedBytes)).toEqual(Buffer.alloc(5, 0xee));
    expect(aead.open(target.subarray(0, 5 + sealedBytes), 5, AD)).toEqual(MESSAGE);
  });

  it('encrypts a plaintext that lies where its ciphertext goes', () => {
    const target = Buffer.alloc(aead.nonceBytes + MESSAGE.length + aead.tagBytes);
    const place = target.subarray(aead.nonceBytes, aead.nonceBytes + MESSAGE.length);
    place.set(MESSAGE);
    aead.seal(place, AD, target, 0);

    expect(target.includes(MESSAGE)).toBe(false);
    expect(aead.open(target, 0, AD)).toEqual(MESSAGE);
  });

  it('never seals one message twice to the same bytes', () => {
    const sealed = new Set(Array.from({ length: 100 }, () => seal(suite).toString('hex')));
    expect(sealed.size).toBe(100);
  });

  it('refuses a message under another key, other associated data, or with a changed bit', () => {
    const sealed = seal(suite);
    const changed = Buffer.from(sealed);
    changed[changed.length - 1] = changed.readUInt8(changed.length - 1) ^ 1;

    expect(() => createAead(suite, Buffer.alloc(32, 8)).open(sealed, 0, AD)).toThrow(AeadError);
    expect(() => aead.open(sealed, 0, Buffer.from('Associated'))).toThrow(AeadError);
    expect(() => aead.open(changed, 0, AD)).toThrow(AeadError);
  });

  it('refuses every message that is too short to be one', () => {
    const sealed = seal(suite, Buffer.alloc(0));
    for (let length = 0; length < sealed.length; length += 1) {
      expect(() => aead.open(sealed.subarray(0, length), 0, AD)).toThrow(AeadError);
    }
  });

  it('keeps a copy of the key, so that the caller can wipe it', () => {
    const bytes = Buffer.from(KEY);
    const own = createAead(suite, bytes);
    bytes.fill(0);
    expect(own.open(seal(suite), 0, AD)).toEqual(MESSAGE);
  });

  it('refuses a key of another length', () => {
    expect(() => createAead(suite, Buffer.alloc(16))).toThrow('32 bytes, got 16');
  });

  it('shows no key bytes when inspected or serialized', () => {
    const key = Buffer.from('CANARYCANARYCANARYCANARYCANARYCA');
    const shown = inspect(createAead(suite, key), { depth: 9, showHidden: true });
    const json = JSON.stringify(createAead(suite, key));

    for (const form of ['CANARY', key.toString('hex').slice(0, 12), '67, 65, 78', '67,65,78']) {
      expect(shown + json).not.toContain(form);
    }
  });
});

describe('createAead', () => {
  it('refuses a suite that this version does not know', () => {
    const error = thrownBy(() => createAead('rot13' as CipherSuite, KEY));
    expect(error).toBeInstanceOf(UnsupportedCipherSuiteError);
    expect(error.code).toBe('ERR_CIPHER_SUITE');
  });

  it('takes no inherited property for a suite', () => {
    expect(isCipherSuite('toString')).toBe(false);
    expect(isCipherSuite('xaes-256-gcm')).toBe(true);
  });
});
