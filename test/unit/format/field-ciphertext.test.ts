import { createAead } from '../../../src/crypto/aead';
import { keyHeader, keyPrefix } from '../../../src/format/data-key-id';
import { FORMATS, HEADER_BYTES, PREFIX_CHARS } from '../../../src/format/data-key-id';
import {
  inspectStored,
  maxPlainBytes,
  prefixOf,
  readCiphertext,
  storedLength,
} from '../../../src/format/field-ciphertext';
import { fieldCipher, KEY_ID, SUITES } from '../../support/field-fixtures';

const BYTES = Buffer.concat([keyHeader(KEY_ID), Buffer.alloc(50, 0xa5)]);
const TEXT = BYTES.toString('base64url');

describe('inspectStored in a text column', () => {
  it('knows a ciphertext and the prefix that names its key', () => {
    expect(inspectStored(TEXT, 'text', false)).toEqual({
      kind: 'ciphertext',
      prefix: keyPrefix(KEY_ID),
      isBound: false,
    });
    expect(TEXT.slice(0, PREFIX_CHARS)).toBe(keyPrefix(KEY_ID));
  });

  it.each([
    ['padding', `${TEXT}==`],
    ['a line feed', `${TEXT}\n`],
    ['a character of the other alphabet', `${TEXT.slice(0, -1)}+`],
    ['stray bits in the last character', TEXT.replace(/U$/, 'V')],
    ['a blank', `${TEXT.slice(0, 40)} ${TEXT.slice(40)}`],
  ])('calls a ciphertext with %s malformed', (_, stored) => {
    expect(inspectStored(stored, 'text', false)).toEqual({
      kind: 'malformed',
      reason: 'it is not canonical base64url',
      prefix: expect.any(String),
    });
  });

  it('calls a ciphertext that is cut short malformed, once its header is whole', () => {
    expect(inspectStored(TEXT.slice(0, 12), 'text', false)).toMatchObject({
      kind: 'malformed',
      reason: 'it is cut short',
      prefix: expect.any(String),
    });
    expect(inspectStored(TEXT.slice(0, 11), 'text', false)).toEqual({ kind: 'plaintext' });
  });

  it('calls long base64url of another format malformed, but not a claim', () => {
    const foreign = Buffer.concat([Buffer.of(3), BYTES.subarray(1)]).toString('base64url');
    expect(inspectStored(foreign, 'text', false)).toEqual({
      kind: 'malformed',
      reason: 'its format 0x03 is not known to this version',
      prefix: undefined,
    });
    expect(inspectStored(foreign.slice(0, 64), 'text', false)).toEqual({ kind: 'plaintext' });
  });

  it.each([
    ['nothing', ''],
    ['a word', 'Ada'],
    ['a sentence that begins like a header', 'Aberdeen is in Scotland'],
    ['a number', 5],
    ['a boolean', true],
    ['bytes', BYTES],
  ])('calls %s plaintext', (_, stored) => {
    expect(inspectStored(stored, 'text', false)).toEqual({ kind: 'plaintext' });
  });
});

describe('inspectStored in a binary column', () => {
  it('knows a ciphertext in a Buffer or a plain Uint8Array', () => {
    const expected = {
      kind: 'ciphertext',
      prefix: keyPrefix(KEY_ID),
      isBound: false,
    };
    expect(inspectStored(BYTES, 'binary', false)).toEqual(expected);
    expect(inspectStored(Uint8Array.from(BYTES), 'binary', false)).toEqual(expected);
  });

  it('calls one that is cut short malformed', () => {
    for (const length of [1, 9, 37]) {
      expect(inspectStored(BYTES.subarray(0, length), 'binary', false)).toEqual({
        kind: 'malformed',
        reason: 'it is cut short',
        prefix: length < HEADER_BYTES ? undefined : keyPrefix(KEY_ID),
      });
    }
  });

  it('calls no bytes at all malformed, but not a claim', () => {
    expect(inspectStored(Buffer.alloc(0), 'binary', false)).toMatchObject({
      kind: 'malformed',
      prefix: undefined,
    });
  });

  it.each([
    ['a string', TEXT],
    ['bytes of another format', Buffer.concat([Buffer.of(3), BYTES])],
    ['null', null],
  ])('calls %s plaintext', (_, stored) => {
    expect(inspectStored(stored, 'binary', false)).toEqual({ kind: 'plaintext' });
  });
});

describe('readCiphertext', () => {
  it('reads the bytes from either storage', () => {
    expect(readCiphertext(TEXT, 'text')).toEqual(BYTES);
    expect(readCiphertext(Uint8Array.from(BYTES), 'binary')).toEqual(BYTES);
    expect(prefixOf(BYTES, BYTES)).toBe(keyPrefix(KEY_ID));
    expect(prefixOf(TEXT, BYTES)).toBe(keyPrefix(KEY_ID));
  });

  it('reads nothing else', () => {
    expect(readCiphertext(TEXT, 'binary')).toBeUndefined();
    expect(readCiphertext(BYTES, 'text')).toBeUndefined();
    expect(readCiphertext(`${TEXT}=`, 'text')).toBeUndefined();
  });
});

describe.each(SUITES)('storedLength of %s', (suite) => {
  it.each(['text', 'binary'] as const)('is the length that a cipher writes to %s', (storage) => {
    const cipher = fieldCipher({ storage }, { suite });
    for (const length of [0, 1, 2, 3, 100]) {
      expect(storedLength(length, suite, storage)).toBe(cipher.encrypt('x'.repeat(length)).length);
    }
  });

  it.each(['text', 'binary'] as const)('is undone by maxPlainBytes for %s', (storage) => {
    for (let length = 0; length < 40; length += 1) {
      const width = storedLength(length, suite, storage);
      expect(maxPlainBytes(width, suite, storage)).toBe(length);
      expect(maxPlainBytes(width - 1, suite, storage)).toBeLessThan(length);
    }
  });

  it('agrees with the nonce of the suite', () => {
    const { nonceBytes, tagBytes } = createAead(suite, Buffer.alloc(32));
    expect(storedLength(0, suite, 'binary')).toBe(HEADER_BYTES + nonceBytes + 1 + tagBytes);
  });
});

describe('inspectStored of a value that is bound to its row', () => {
  const bound = Buffer.concat([keyHeader(KEY_ID, FORMATS.bound), BYTES.subarray(HEADER_BYTES)]);

  it.each([
    ['text', bound.toString('base64url')],
    ['binary', bound],
  ] as const)('knows it in a field that has such values: %s', (storage, stored) => {
    expect(inspectStored(stored, storage, true)).toEqual({
      kind: 'ciphertext',
      prefix: keyPrefix(KEY_ID),
      isBound: true,
    });
    expect(inspectStored(stored, storage, false)).toEqual({
      kind: 'malformed',
      reason: expect.stringContaining('bound to a row'),
      prefix: keyPrefix(KEY_ID),
    });
  });

  it('calls what only begins like one plaintext where there are none', () => {
    expect(inspectStored('Annualreviews', 'text', false)).toEqual({ kind: 'plaintext' });
    expect(inspectStored(Buffer.of(2, 1), 'binary', false)).toEqual({ kind: 'plaintext' });
    expect(inspectStored(bound.subarray(0, 20), 'binary', true)).toMatchObject({
      kind: 'malformed',
      prefix: keyPrefix(KEY_ID),
    });
  });
});
