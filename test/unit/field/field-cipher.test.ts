import { inspect } from 'node:util';

import { createAead } from '../../../src/crypto/aead';
import type { ValueType } from '../../../src/encoding/value-codec';
import { encodeValue } from '../../../src/encoding/value-codec';
import {
  DecryptionError,
  KeyNotFoundError,
  MalformedCiphertextError,
  PlaintextFoundError,
  UnsupportedValueError,
} from '../../../src/errors';
import { keyPrefix } from '../../../src/format/data-key-id';
import { fieldCipher, KEY_ID, SUITES, thrownBy, VALUE_TYPES } from '../../support/field-fixtures';
import { staticKey, StaticKeySource } from '../../support/static-key-source';

const VALUES: Readonly<Record<ValueType, unknown>> = {
  string: 'Ada \u{1f600}',
  number: -0,
  bigint: 2n ** 80n,
  boolean: false,
  date: new Date(1),
  json: { a: [1, 'x'] },
  bytes: Buffer.of(0, 255),
};
const NEW_ID = 'fedcba9876543210';

describe.each(SUITES)('FieldCipher with %s', (suite) => {
  it.each(VALUE_TYPES)('gives back a %s from a text and from a binary column', (type) => {
    for (const storage of ['text', 'binary'] as const) {
      const cipher = fieldCipher({ type, storage }, { suite });
      expect(cipher.decrypt(cipher.encrypt(VALUES[type]))).toStrictEqual(VALUES[type]);
    }
  });

  it.each(['text', 'binary'] as const)('keeps %s values of any length apart', (storage) => {
    const cipher = fieldCipher({ type: 'bytes', storage }, { suite });
    const lengths = [0, 1, 2, 957, 958, 959, 960, 970, 971, 1024, 5000];
    const values = lengths.flatMap((length) => [
      Buffer.alloc(length, 'a'),
      Buffer.alloc(length, 'b'),
    ]);
    const stored = values.map((value) => cipher.encrypt(value));
    const read = stored.map((each) => cipher.decrypt(each));
    const raw = stored.map((each) => cipher.openRaw(each));
    const again = raw.map((each) => cipher.decrypt(cipher.sealRaw(each)));

    expect(new Set(stored.map(String)).size).toBe(values.length);
    expect(read).toEqual(values);
    expect(again).toEqual(values);
  });

  it('begins what it stores with the prefix of the active key', () => {
    expect(fieldCipher({}, { suite }).encrypt('Ada')).toMatch(
      new RegExp(`^${keyPrefix(KEY_ID)}[A-Za-z0-9_-]+$`),
    );
  });

  it('refuses a ciphertext of another application, field or key', () => {
    const stored = fieldCipher({}, { suite }).encrypt('Ada');
    const otherBytes = new StaticKeySource([staticKey({ id: KEY_ID, suite, seed: 2 })]);

    for (const cipher of [
      fieldCipher({}, { suite, application: 'shop' }),
      fieldCipher({ fieldId: 'Patient.other' }, { suite }),
      fieldCipher({}, { suite, keys: otherBytes }),
    ]) {
      const error = thrownBy(() => cipher.decrypt(stored));
      expect(error).toBeInstanceOf(DecryptionError);
      expect(error).toMatchObject({
        code: 'ERR_DECRYPTION',
        entity: 'Patient',
        property: 'secret',
        keyId: KEY_ID,
      });
    }
  });

  it('refuses a ciphertext whose header was made to name another key with the same bytes', () => {
    const keys = new StaticKeySource([
      staticKey({ id: KEY_ID, suite }),
      staticKey({ id: NEW_ID, suite }),
    ]);
    const cipher = fieldCipher({}, { keys });
    const stored = String(cipher.encrypt('Ada'));

    expect(() => cipher.decrypt(keyPrefix(NEW_ID) + stored.slice(12))).toThrow(DecryptionError);
  });
});

describe('FieldCipher.encrypt', () => {
  it('makes another ciphertext of the same value each time', () => {
    const cipher = fieldCipher();
    expect(cipher.encrypt('Ada')).not.toBe(cipher.encrypt('Ada'));
  });

  it('encrypts a value that looks like a ciphertext like any other', () => {
    const cipher = fieldCipher();
    const stored = cipher.encrypt('Ada');
    expect(cipher.decrypt(cipher.encrypt(stored))).toBe(stored);
  });

  it('leaves bytes and objects as they were', () => {
    const bytes = Buffer.of(1, 2, 3);
    fieldCipher({ type: 'bytes', storage: 'binary' }).encrypt(bytes);
    expect(bytes).toEqual(Buffer.of(1, 2, 3));
  });

  it.each<[string, ValueType, unknown, string]>([
    ['another type', 'number', 'CANARY', 'expected a number, got a string'],
    ['null', 'string', null, 'expected a string, got null'],
    ['undefined', 'json', undefined, 'expected a JSON value, got undefined'],
    ['a lone surrogate', 'string', 'CANARY\ud800', 'lone surrogate'],
    ['an invalid Date', 'date', new Date(NaN), 'the Date is invalid'],
    ['what JSON would change', 'json', { a: new Map([['CANARY', 1]]) }, 'JSON cannot hold a Map'],
  ])('refuses %s, naming field and reason but not the value', (_, type, value, reason) => {
    const error = thrownBy(() => fieldCipher({ type }).encrypt(value));

    expect(error).toBeInstanceOf(UnsupportedValueError);
    expect(error).toMatchObject({
      code: 'ERR_UNSUPPORTED_VALUE',
      entity: 'Patient',
      property: 'secret',
    });
    expect(error.cause).toBeUndefined();
    expect(error.message).toContain('Patient.secret: ');
    expect(error.message).toContain(reason);
    expect(inspect(error)).not.toContain('CANARY');
  });

  it('takes a value of the greatest length and refuses one byte more', () => {
    const cipher = fieldCipher({ maxValueBytes: 4 });
    expect(cipher.decrypt(cipher.encrypt('abcd'))).toBe('abcd');
    expect(thrownBy(() => cipher.encrypt('abé€')).message).toContain('7 bytes, the limit is 4');
  });

  it.each(['text', 'binary'] as const)('refuses what would not fit the %s column', (storage) => {
    const { length } = fieldCipher({ storage }).encrypt('abcdef');
    expect(fieldCipher({ storage, columnLength: length }).encrypt('abcdef')).toHaveLength(length);

    const narrow = fieldCipher({ storage, columnLength: length - 1 });
    const error = thrownBy(() => narrow.encrypt('abcdef'));
    expect(error).toBeInstanceOf(UnsupportedValueError);
    expect(error.message).toContain(`takes ${String(length)}`);
  });

  it('uses the key of the name that the policy gives', () => {
    const cipher = fieldCipher({ keyName: 'pii' });
    expect(() => cipher.encrypt('Ada')).toThrow(KeyNotFoundError);
  });
});

describe('FieldCipher.decrypt', () => {
  const cipher = fieldCipher();
  const stored = String(cipher.encrypt('Ada'));

  it.each<[string, unknown]>([
    ['a string', 'CANARY'],
    ['an empty string', ''],
    ['null', null],
    ['a number', 5],
    ['bytes', Buffer.from(stored)],
    ['a ciphertext cut off within its header', stored.slice(0, 11)],
  ])('calls %s plaintext, naming field and remedy but not the value', (_, value) => {
    const error = thrownBy(() => cipher.decrypt(value));
    expect(error).toBeInstanceOf(PlaintextFoundError);
    expect(error).toMatchObject({ code: 'ERR_PLAINTEXT_FOUND', property: 'secret' });
    expect(error.message).toContain('field-encryption data encrypt');
    expect(inspect(error)).not.toContain('CANARY');
  });

  it.each<[string, string]>([
    ['padding', `${stored}=`],
    ['a cut after the header', stored.slice(0, 30)],
    ['an unknown format', Buffer.alloc(60, 2).toString('base64url')],
  ])('calls a ciphertext with %s malformed', (_, value) => {
    const error = thrownBy(() => cipher.decrypt(value));
    expect(error).toBeInstanceOf(MalformedCiphertextError);
    expect(error).toMatchObject({ code: 'ERR_CIPHERTEXT_MALFORMED', property: 'secret' });
    expect(error.message).not.toContain(value);
  });

  it('calls one that is long enough for another suite only malformed, and names the key', () => {
    const short = Buffer.from(stored, 'base64url').subarray(0, 45).toString('base64url');
    expect(thrownBy(() => cipher.decrypt(short))).toMatchObject({
      code: 'ERR_CIPHERTEXT_MALFORMED',
      keyId: KEY_ID,
    });
  });

  it('asks for the key that the ciphertext names and for no other', () => {
    const keys = new StaticKeySource([staticKey({ id: NEW_ID })]);
    expect(() => fieldCipher({}, { keys }).decrypt(stored)).toThrow(KeyNotFoundError);
  });

  it('reads under old keys and writes under the active one', () => {
    const keys = new StaticKeySource([
      staticKey({ id: NEW_ID, seed: 2 }),
      staticKey({ id: KEY_ID }),
    ]);
    const rotated = fieldCipher({}, { keys });
    expect(rotated.decrypt(stored)).toBe('Ada');
    expect(rotated.inspect(rotated.encrypt('Ada'))).toEqual({
      kind: 'ciphertext',
      prefix: keyPrefix(NEW_ID),
      isBound: false,
    });
  });

  it('refuses a genuine value of another type and says which', () => {
    const date = fieldCipher({ type: 'date' }).encrypt(new Date(0));
    const error = thrownBy(() => fieldCipher({ type: 'number' }).decrypt(date));
    expect(error).toBeInstanceOf(DecryptionError);
    expect(error.message).toContain('it holds a date, the field is a number');
  });

  it('passes on what is no matter of authentication', () => {
    const aead = {
      ...createAead('xaes-256-gcm', Buffer.alloc(32)),
      suite: 'xaes-256-gcm' as const,
      nonceBytes: 24,
      tagBytes: 16 as const,
      seal: () => undefined,
      open: (): never => {
        throw new RangeError('out of memory');
      },
    };
    const keys = new StaticKeySource([staticKey({ id: KEY_ID, aead })]);
    expect(() => fieldCipher({}, { keys }).decrypt(stored)).toThrow('out of memory');
  });
});

describe('FieldCipher.openRaw and sealRaw', () => {
  it('move a value to the active key without decoding it', () => {
    const old = fieldCipher({ type: 'number' }).encrypt(-0);
    const keys = new StaticKeySource([
      staticKey({ id: NEW_ID, seed: 2 }),
      staticKey({ id: KEY_ID }),
    ]);
    const cipher = fieldCipher({ type: 'number' }, { keys });
    const moved = cipher.sealRaw(cipher.openRaw(old));

    expect(cipher.openRaw(old)).toEqual(encodeValue('number', -0));
    expect(String(moved).startsWith(keyPrefix(NEW_ID))).toBe(true);
    expect(cipher.decrypt(moved)).toBe(-0);
  });

  it('refuse what encrypt and decrypt refuse', () => {
    expect(() => fieldCipher().openRaw('plain')).toThrow(PlaintextFoundError);
    expect(() => fieldCipher({ maxValueBytes: 1 }).sealRaw(encodeValue('string', 'ab'))).toThrow(
      UnsupportedValueError,
    );
  });
});
