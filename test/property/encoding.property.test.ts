import fc from 'fast-check';

import { decodeBase64url, encodeBase64url } from '../../src/encoding/base64url';
import { stringifyExactly } from '../../src/encoding/exact-json';
import { lengthPrefixed } from '../../src/encoding/length-prefixed';
import { decodeValue, encodeValue } from '../../src/encoding/value-codec';
import { ValueCodecError } from '../../src/encoding/value-codec-error';
import { VALUE_TYPES } from '../support/field-fixtures';

const parts = fc.array(fc.oneof(fc.string({ maxLength: 3 }), fc.uint8Array({ maxLength: 3 })), {
  maxLength: 4,
});

describe('lengthPrefixed', () => {
  it('is injective: equal bytes come of equal parts only', () => {
    fc.assert(
      fc.property(parts, parts, (a, b) => {
        const same = Buffer.from(lengthPrefixed(a)).equals(lengthPrefixed(b));
        expect(same).toBe(sameParts(a, b));
      }),
      { numRuns: 2000 },
    );
  });

  it('can be taken apart again', () => {
    fc.assert(
      fc.property(parts, (list) => {
        expect(takeApart(Buffer.from(lengthPrefixed(list)))).toEqual(list.map(hexOf));
      }),
    );
  });
});

describe('base64url', () => {
  it('gives every byte string one text and takes no other for it', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(decodeBase64url(encodeBase64url(bytes))).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it('decodes arbitrary text only when it is the encoding of what comes out', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const bytes = decodeBase64url(text);
        expect(bytes === undefined || encodeBase64url(bytes) === text).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it('takes a changed character just where the text is then the encoding of other bytes', () => {
    const character = fc.oneof(
      fc.constantFrom('+', '/', '=', ' ', '\n', '-', '_', '\u0100', '\u0141', '\ud800', ''),
      fc.integer({ min: 0, max: 0x3ff }).map((unit) => String.fromCharCode(unit)),
    );
    const anywhere = fc.oneof(fc.nat(), fc.constantFrom(-1, -2, -3));
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 60 }),
        fc.array(fc.tuple(anywhere, character), { minLength: 1, maxLength: 3 }),
        (bytes, changes) => {
          const characters = Array.from(encodeBase64url(bytes));
          for (const [at, changed] of changes) {
            characters[(at + 3 * characters.length) % characters.length] = changed;
          }
          const text = characters.join('');
          const lenient = Buffer.from(text, 'base64url');
          const isCanonical = encodeBase64url(lenient) === text;
          expect(decodeBase64url(text)).toEqual(isCanonical ? lenient : undefined);
        },
      ),
      { numRuns: 20_000 },
    );
  });
});

describe('stringifyExactly', () => {
  it('writes what JSON.stringify writes, for everything JSON can hold', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        expect(stringifyExactly(value).replaceAll('-0', '0')).toBe(
          JSON.stringify(value).replaceAll('-0', '0'),
        );
      }),
    );
  });

  it('either comes back exactly or is refused, for any value at all', () => {
    // A property that is undefined is left out, and is then the inherited one where there is one.
    const key = fc.string().filter((name) => !(name in Object.prototype));
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: false, key }), (value) => {
        let text: string;
        try {
          text = stringifyExactly(value);
        } catch (error) {
          expect(error).toBeInstanceOf(ValueCodecError);
          return;
        }
        expect(JSON.parse(text)).toEqual(value);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('encodeValue', () => {
  it('never throws anything but its own error', () => {
    const hostile = fc.anything({
      withBigInt: true,
      withBoxedValues: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withSparseArray: true,
      withTypedArray: true,
    });
    fc.assert(
      fc.property(fc.constantFrom(...VALUE_TYPES), hostile, (type, value) => {
        expectOnly(ValueCodecError, () => encodeValue(type, value));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('decodeValue', () => {
  it('never throws anything but its own error', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...VALUE_TYPES),
        fc.integer({ min: 0, max: 9 }),
        fc.uint8Array(),
        (type, tag, content) => {
          expectOnly(ValueCodecError, () => decodeValue(type, Buffer.from([tag, ...content])));
        },
      ),
      { numRuns: 2000 },
    );
  });
});

function expectOnly(errorClass: new (reason: string) => Error, action: () => unknown): void {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(errorClass);
  }
}

function hexOf(part: string | Uint8Array): string {
  return Buffer.from(part as Uint8Array).toString('hex');
}

function sameParts(a: readonly (string | Uint8Array)[], b: typeof a): boolean {
  return a.length === b.length && a.every((part, i) => hexOf(part) === hexOf(b[i] ?? ''));
}

function takeApart(bytes: Buffer): string[] {
  const taken: string[] = [];
  let offset = 4;
  for (let index = 0; index < bytes.readUInt32BE(0); index += 1) {
    const end = offset + 4 + bytes.readUInt32BE(offset);
    taken.push(bytes.toString('hex', offset + 4, end));
    offset = end;
  }
  expect(offset).toBe(bytes.length);
  return taken;
}
