import fc from 'fast-check';

import type { ValueType } from '../../src/encoding/value-codec';
import {
  DecryptionError,
  FieldEncryptionError,
  KeyNotFoundError,
  MalformedCiphertextError,
  PlaintextFoundError,
} from '../../src/errors';
import type { FieldCipher } from '../../src/field/field-cipher';
import { HEADER_BYTES, PREFIX_CHARS } from '../../src/format/data-key-id';
import { storedLength } from '../../src/format/field-ciphertext';
import { fieldCipher, SUITES, thrownBy, VALUE_TYPES } from '../support/field-fixtures';

const VALUES: Readonly<Record<ValueType, fc.Arbitrary<unknown>>> = {
  string: fc.string({ unit: 'binary', maxLength: 300 }),
  number: fc.double(),
  bigint: fc.bigInt(),
  boolean: fc.boolean(),
  date: fc.date({ noInvalidDate: true }),
  json: fc.jsonValue({ noUnicodeString: false }).filter((value) => value !== null),
  bytes: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
};

const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

const storages = ['text', 'binary'] as const;

describe.each(SUITES)('FieldCipher with %s', (suite) => {
  const runs = { numRuns: suite === 'aes-256-gcm-siv' ? 30 : 200 };

  it.each(VALUE_TYPES)('gives back every %s exactly, from either storage', (type) => {
    const ciphers = storages.map((storage) => fieldCipher({ type, storage }, { suite }));
    fc.assert(
      fc.property(VALUES[type], (value) => {
        for (const cipher of ciphers) {
          expect(cipher.decrypt(cipher.encrypt(value))).toStrictEqual(value);
        }
      }),
      runs,
    );
  });

  it('refuses every single-bit change in a binary column with the error that fits', () => {
    const cipher = fieldCipher({ storage: 'binary' }, { suite });
    const stored = cipher.encrypt('Ada Lovelace') as Buffer;
    for (let bit = 0; bit < stored.length * 8; bit += 1) {
      const error = thrownBy(() => cipher.decrypt(flipped(stored, bit)));
      expect([bit, error.name]).toEqual([bit, errorOfFlip(bit)]);
    }
  });

  it('refuses every single-bit change of the bytes in a text column', () => {
    const cipher = fieldCipher({}, { suite });
    const stored = Buffer.from(String(cipher.encrypt('Ada Lovelace')), 'base64url');
    for (let bit = 0; bit < stored.length * 8; bit += 1) {
      const text = flipped(stored, bit).toString('base64url');
      expect(thrownBy(() => cipher.decrypt(text)).name).toBe(
        bit < 8 ? MalformedCiphertextError.name : errorOfFlip(bit),
      );
    }
  });

  it('refuses every change of one character in a text column', () => {
    const cipher = fieldCipher({}, { suite });
    const stored = String(cipher.encrypt('Ada'));
    for (let index = 0; index < stored.length; index += 1) {
      for (const character of ['A', 'z', '_', '=', '+', ' ', '\n', '\u0141']) {
        if (character === stored[index]) continue;
        const text = stored.slice(0, index) + character + stored.slice(index + 1);
        expect(thrownBy(() => cipher.decrypt(text))).toBeInstanceOf(FieldEncryptionError);
      }
    }
  });

  it.each(storages)(
    'refuses every truncation in a %s column with the error that fits',
    (storage) => {
      const cipher = fieldCipher({ storage }, { suite });
      const stored = cipher.encrypt('Ada Lovelace');
      const shortest = storedLength(0, suite, storage);
      for (let length = 0; length < stored.length; length += 1) {
        const cut = stored.slice(0, length);
        const error = thrownBy(() => cipher.decrypt(cut));
        expect([length, error.name]).toEqual([length, errorOfCut(cut, shortest)]);
      }
    },
  );

  it('refuses a ciphertext with anything behind it', () => {
    const cipher = fieldCipher({ storage: 'binary' }, { suite });
    const stored = cipher.encrypt('Ada') as Buffer;
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (rest) => {
        expect(() => cipher.decrypt(Buffer.concat([stored, rest]))).toThrow(DecryptionError);
      }),
      runs,
    );
  });
});

describe('FieldCipher.decrypt', () => {
  const genuine = String(fieldCipher().encrypt('Ada'));
  const garbage = fc.oneof(
    fc.anything({ withBigInt: true, withDate: true, withMap: true, withTypedArray: true }),
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'binary' }).map((text) => genuine.slice(0, 12) + text),
    fc.uint8Array({ maxLength: 100 }),
    fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
    fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.of(1, ...bytes)),
    fc
      .uint8Array({ maxLength: 100 })
      .map((bytes) =>
        Buffer.concat([Buffer.from(genuine, 'base64url').subarray(0, HEADER_BYTES), bytes]),
      ),
  );

  it('never answers garbage, and refuses it with errors of this library only', () => {
    const ciphers = SUITES.flatMap((suite) =>
      storages.map((storage): FieldCipher => fieldCipher({ storage }, { suite })),
    );
    fc.assert(
      fc.property(garbage, (stored) => {
        for (const cipher of ciphers) {
          expect(thrownBy(() => cipher.decrypt(stored))).toBeInstanceOf(FieldEncryptionError);
        }
      }),
      { numRuns: 3000 },
    );
  });
});

function flipped(bytes: Buffer, bit: number): Buffer {
  const changed = Buffer.from(bytes);
  const index = Math.floor(bit / 8);
  changed[index] = changed.readUInt8(index) ^ (1 << (bit % 8));
  return changed;
}

/** In the format byte it is no ciphertext, in the key id one of an unknown key, then a forged one. */
function errorOfFlip(bit: number): string {
  if (bit < 8) return PlaintextFoundError.name;
  return bit < HEADER_BYTES * 8 ? KeyNotFoundError.name : DecryptionError.name;
}

function errorOfCut(cut: string | Buffer, shortest: number): string {
  if (typeof cut === 'string' && cut.length < PREFIX_CHARS) return PlaintextFoundError.name;
  const malformed = cut.length < shortest || (typeof cut === 'string' && !isCanonical(cut));
  return malformed ? MalformedCiphertextError.name : DecryptionError.name;
}

/** Whether the bits of the last character that reach beyond the last whole byte are zero. */
function isCanonical(text: string): boolean {
  const strayBits = (text.length * 6) % 8;
  return strayBits < 6 && BASE64URL.indexOf(text.at(-1) ?? '') % 2 ** strayBits === 0;
}
