import { inspect } from 'node:util';

import type { CipherSuite } from '../../../src/crypto/aead';
import { AeadError, createAead, isCipherSuite } from '../../../src/crypto/aead';
import { openBytes, sealBytes } from '../../../src/crypto/gcm';
import { SealedMessage } from '../../../src/encoding/sealed-message';
import { UnsupportedCipherSuiteError } from '../../../src/errors';
import { SUITES, thrownBy } from '../../support/field-fixtures';

const KEY = Buffer.alloc(32, 7);
const MESSAGE = Buffer.from('0123456789');
const AD = Buffer.from('associated');

function seal(suite: CipherSuite, plaintext: Buffer = MESSAGE, associatedData = AD): Buffer {
  return sealBytes(createAead(suite, KEY), plaintext, associatedData);
}

describe.each(SUITES)('createAead(%s)', (suite) => {
  const aead = createAead(suite, KEY);

  it.each([0, 1, 10, 5000])('opens what it sealed, %i bytes long', (length) => {
    const plaintext = Buffer.alloc(length, 3);
    expect(openBytes(aead, seal(suite, plaintext), AD)).toEqual(plaintext);
  });

  it('opens it with another instance of the same key', () => {
    expect(openBytes(createAead(suite, KEY), seal(suite), AD)).toEqual(MESSAGE);
  });

  it('writes at the offset and leaves the rest of the target alone', () => {
    const sealedBytes = aead.nonceBytes + MESSAGE.length + aead.tagBytes;
    const target = Buffer.alloc(5 + sealedBytes + 5, 0xee);
    const message = new SealedMessage(target.subarray(0, -5), 5, aead.nonceBytes);
    message.ciphertext.set(MESSAGE);
    aead.seal(message, AD);

    expect(target.subarray(0, 5)).toEqual(Buffer.alloc(5, 0xee));
    expect(target.subarray(-5)).toEqual(Buffer.alloc(5, 0xee));
    expect(openBytes(aead, target.subarray(5, 5 + sealedBytes), AD)).toEqual(MESSAGE);
  });

  it('encrypts where the plaintext stands, again and again in one buffer', () => {
    const target = Buffer.alloc(aead.nonceBytes + MESSAGE.length + aead.tagBytes);
    const message = new SealedMessage(target, 0, aead.nonceBytes);
    for (const plaintext of [MESSAGE, Buffer.alloc(MESSAGE.length, 'x')]) {
      message.ciphertext.set(plaintext);
      aead.seal(message, AD);

      expect(target.includes(plaintext)).toBe(false);
      expect(aead.open(message, AD)).toEqual(plaintext);
      // It leaves the message as it is, so that it opens again.
      expect(openBytes(aead, target, AD)).toEqual(plaintext);
    }
  });

  it('never seals one message twice to the same bytes', () => {
    const sealed = new Set(Array.from({ length: 100 }, () => seal(suite).toString('hex')));
    expect(sealed.size).toBe(100);
  });

  it('refuses a message under another key, other associated data, or with a changed bit', () => {
    const sealed = seal(suite);
    const changed = Buffer.from(sealed);
    changed[changed.length - 1] = changed.readUInt8(changed.length - 1) ^ 1;

    expect(() => openBytes(createAead(suite, Buffer.alloc(32, 8)), sealed, AD)).toThrow(AeadError);
    expect(() => openBytes(aead, sealed, Buffer.from('Associated'))).toThrow(AeadError);
    expect(() => openBytes(aead, changed, AD)).toThrow(AeadError);
  });

  it('refuses every message that is too short to be one', () => {
    const sealed = seal(suite, Buffer.alloc(0));
    for (let length = 0; length < sealed.length; length += 1) {
      expect(() => openBytes(aead, sealed.subarray(0, length), AD)).toThrow(AeadError);
      expect(() => new SealedMessage(sealed.subarray(0, length), 0, aead.nonceBytes)).toThrow(
        RangeError,
      );
    }
  });

  it('keeps a copy of the key, so that the caller can wipe it', () => {
    const bytes = Buffer.from(KEY);
    const own = createAead(suite, bytes);
    bytes.fill(0);
    expect(openBytes(own, seal(suite), AD)).toEqual(MESSAGE);
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
