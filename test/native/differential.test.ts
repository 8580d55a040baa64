import { randomBytes, randomInt } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';

import type { CipherSuite } from '../../src/crypto/aead';
import type { NativeDataKey } from '../../src/crypto/native';
import { NATIVE_FORMS, nativeDataKey } from '../../src/crypto/native';
import { Xaes256Gcm } from '../../src/crypto/xaes-256-gcm';
import { hmacKey, hmacSha256 } from '../../src/crypto/hmac';
import { hedgingKey } from '../../src/crypto/nonces';
import type { ValueType } from '../../src/encoding/value-codec';
import { encodeValue, TYPE_TAGS } from '../../src/encoding/value-codec';
import { FieldEncryptionError } from '../../src/errors';
import { AssociatedData } from '../../src/field/associated-data';
import { FieldCipher } from '../../src/field/field-cipher';
import { RowContextForm, utf8 } from '../../src/field/row-context';
import { FORMATS, HEADER_BYTES, keyHeader } from '../../src/format/data-key-id';
import type { Storage } from '../../src/format/field-ciphertext';
import { fieldPolicy, KEY_ID, VALUE_TYPES } from '../support/field-fixtures';
import { describeNative } from '../support/native';
import { sealWithNonce } from '../support/seal-with-nonce';
import { staticKey, StaticKeySource } from '../support/static-key-source';

/** Values for each type and storage; the whole million is `npm run test:native:million`. */
const VALUES = Number(process.env['NATIVE_VALUES'] ?? 100);
const STORAGES: readonly Storage[] = ['text', 'binary'];
const APPLICATION = 'clinic';
const NONCE_BYTES = 24;

const pick = <T>(from: readonly T[]): T => from[randomInt(from.length)]!;

const CODE_POINTS = [
  0, 0x20, 0x41, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xfeff, 0xffff, 0x1f600, 0x10ffff,
];

function randomText(): string {
  const length = pick([0, 1, 3, 16, 64, 200]);
  return Array.from({ length }, () => String.fromCodePoint(pick(CODE_POINTS))).join('');
}

const RANDOM: Readonly<Record<ValueType, () => unknown>> = {
  string: randomText,
  number: () => randomBytes(8).readDoubleBE(),
  bigint: () => BigInt(`0x0${randomBytes(randomInt(1, 40)).toString('hex')}`) * pick([1n, -1n]),
  boolean: () => pick([true, false]),
  date: () => new Date(randomInt(-(2 ** 46), 2 ** 46)),
  json: () => pick([randomText(), { a: [randomText(), -0, null] }, [], true, 5]),
  bytes: () => randomBytes(randomInt(0, 200)),
};

function randomContext(): string {
  return randomBytes(pick([0, 30, 127, 128, 1024, 1025, 3000]) + 8).toString('latin1');
}

/** The context of a row by the values of its bound columns. */
function contextOf(values: readonly string[]): string {
  const parts = values.map((_, i) => ({ kind: 'bind' as const, name: `column ${String(i)}` }));
  return new RowContextForm(parts).of((i) => utf8(values[i] ?? ''));
}

/** What a ciphertext is changed to. */
const MUTATIONS: readonly ((bytes: Buffer) => Buffer)[] = [
  (bytes) => {
    const changed = Buffer.from(bytes);
    const at = randomInt(bytes.length);
    changed[at] = changed[at]! ^ (1 << randomInt(8));
    return changed;
  },
  (bytes) => bytes.subarray(0, randomInt(bytes.length)),
  (bytes) => Buffer.concat([bytes, randomBytes(randomInt(1, 4))]),
  (bytes) => Buffer.concat([bytes.subarray(0, HEADER_BYTES), randomBytes(bytes.length)]),
  () => randomBytes(randomInt(100)),
];

const ODD_CHARACTERS = ['A', 'z', '9', '-', '+', '/', '=', ' ', '\n', '\u0141', '\ud800'];

const TEXT_MUTATIONS: readonly ((text: string) => string)[] = [
  (text) => replaceAt(text, randomInt(text.length), pick(ODD_CHARACTERS)),
  (text) => text.slice(0, randomInt(text.length)),
  (text) => text + pick(['A', '=', '-', '\n']),
];

function replaceAt(text: string, at: number, by: string): string {
  return text.slice(0, at) + by + text.slice(at + 1);
}

interface Pair {
  readonly native: FieldCipher;
  readonly javaScript: FieldCipher;
}

/** Ciphers of one field under one key, with the add-on and without. */
function pair(
  type: ValueType,
  storage: Storage,
  suite: CipherSuite = 'xaes-256-gcm',
  boundTo: readonly string[] = [],
): Pair {
  const key = staticKey({ id: KEY_ID, suite });
  expect(key.native).toBeDefined();
  const of = (native: NativeDataKey | undefined): FieldCipher =>
    new FieldCipher(
      fieldPolicy({ type, storage, boundTo }),
      APPLICATION,
      new StaticKeySource([{ ...key, native }]),
    );
  return { native: of(key.native), javaScript: of(undefined) };
}

/** The value, or the error that names itself. */
function outcome(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof FieldEncryptionError)) throw error;
    return [error.code, error.message];
  }
}

/** What `expect` says, at a fraction of its cost for what is the same. */
function requireSame(actual: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(actual, expected)) expect(actual).toStrictEqual(expected);
}

function mutated(stored: string | Buffer): string | Buffer {
  if (typeof stored !== 'string') return pick(MUTATIONS)(stored);
  if (randomInt(2) === 0) return pick(TEXT_MUTATIONS)(stored);
  return pick(MUTATIONS)(Buffer.from(stored, 'base64url')).toString('base64url');
}

describeNative('The add-on and JavaScript', () => {
  describe.each(STORAGES)('with values in %s columns', (storage) => {
    it.each(VALUE_TYPES)('read what the other wrote, and refuse the same: %s', (type) => {
      const { native, javaScript } = pair(type, storage);
      for (let i = 0; i < VALUES; i += 1) {
        const value = RANDOM[type]();
        const [stored, other] = [native.encrypt(value), javaScript.encrypt(value)];
        requireSame(javaScript.decrypt(stored), value);
        requireSame(native.decrypt(other), value);
        requireSame(native.openRaw(stored), javaScript.openRaw(other));
        const moved = native.sealRaw(javaScript.openRaw(stored));
        requireSame(javaScript.decrypt(moved), value);
        const changed = mutated(stored);
        requireSame(
          outcome(() => native.decrypt(changed)),
          outcome(() => javaScript.decrypt(changed)),
        );
        requireSame(
          outcome(() => native.openRaw(changed)),
          outcome(() => javaScript.openRaw(changed)),
        );
      }
    });
  });

  it.each(VALUE_TYPES)('read what the other bound to a row, and refuse the same: %s', (type) => {
    for (const storage of STORAGES) {
      const { native, javaScript } = pair(type, storage, 'xaes-256-gcm', ['id']);
      for (let i = 0; i < VALUES; i += 1) {
        const value = RANDOM[type]();
        // The add-on leaves long contexts to JavaScript.
        const [context, other] = [randomContext(), randomContext()];
        const stored = pick([native, javaScript]).encrypt(value, context);
        const changed = mutated(stored);
        for (const cipher of [native, javaScript]) {
          requireSame(cipher.decrypt(stored, context), value);
          const moved = cipher.sealRaw(cipher.openRaw(stored, context), other);
          for (const reader of [native, javaScript]) {
            requireSame(reader.decrypt(moved, other), value);
            expect(() => reader.decrypt(moved, context)).toThrow(/belongs to another row/);
          }
        }
        requireSame(
          outcome(() => native.decrypt(changed, context)),
          outcome(() => javaScript.decrypt(changed, context)),
        );
      }
    }
  });

  it('agree on the rows of long values, of many, and of characters beyond a byte', () => {
    const { native, javaScript } = pair('string', 'text', 'xaes-256-gcm', ['id']);
    const sizes = [1, 2, 60, 255, 256, 257, 300];
    // U+0141 and U+01F441 end in the byte of "A".
    const values = ['A', '\u0141', '\u{1f441}', '\0', '\u0100', '\xff'];
    const contexts = sizes.flatMap((size) => [
      ...values.map((value) => contextOf([value.repeat(size)])),
      contextOf(Array.from({ length: size }, () => 'A')),
    ]);
    expect(new Set(contexts).size).toBe(contexts.length - 1);
    for (const [i, context] of contexts.entries()) {
      const stored = [native, javaScript].map((cipher) => cipher.encrypt('canary', context));
      const other = contexts[(i + 1) % (contexts.length - 1)] ?? '';
      for (const reader of [native, javaScript]) {
        for (const each of stored) {
          expect(reader.decrypt(each, context)).toBe('canary');
          expect(() => reader.decrypt(each, other)).toThrow(/belongs to another row/);
        }
      }
    }
  });

  it.each(['xaes-256-gcm', 'aes-256-gcm-siv'] as const)(
    'do not take the bound for the unbound, nor the other way round: %s',
    (suite) => {
      const unbound = nativeDataKey(suite, Buffer.alloc(32, 1), keyHeader(KEY_ID), 'random');
      if (unbound === undefined) return;
      const key = staticKey({ id: KEY_ID, suite });
      const data = new AssociatedData(APPLICATION, 'Patient.secret');
      const form = [TYPE_TAGS.string, false, NATIVE_FORMS.text] as const;
      const [before, whole] = [data.beforeContext(key), data.forKey(key)];
      const bound = unbound.rowSealer(before, ...form)?.('Ada', 'row');
      expect(unbound.rowOpener(before, ...form)?.(bound, 'row')).toBe('Ada');
      expect(unbound.rowOpener(before, ...form)?.(bound, 'raw')).toBeUndefined();
      expect(unbound.opener(whole, ...form)?.(bound)).toBeUndefined();
      expect(unbound.opener(data.of(key, 'row'), ...form)?.(bound)).toBeUndefined();
      const sealed = unbound.sealer(whole, ...form)?.('Ada');
      expect(unbound.rowOpener(before, ...form)?.(sealed, 'row')).toBeUndefined();
      expect(unbound.rowSealer(before, ...form)?.('Ada', undefined as never)).toBeUndefined();
      expect(unbound.rowSealer(before, ...form)?.('Ada', 'x'.repeat(1025))).toBeUndefined();
    },
  );

  it('make the same bytes of the same nonce for a row, hedged or as it was drawn', () => {
    const bytes = Buffer.alloc(32, 1);
    const key = staticKey({ id: KEY_ID });
    const data = new AssociatedData(APPLICATION, 'Patient.secret');
    for (const nonces of ['random', 'hedged'] as const) {
      const seal = nativeDataKey('xaes-256-gcm', bytes, keyHeader(KEY_ID), nonces)!.rowSealer(
        data.beforeContext(key),
        TYPE_TAGS.string,
        false,
        NATIVE_FORMS.text,
      )!;
      for (let i = 0; i < VALUES; i += 1) {
        const [value, context] = [randomText(), randomBytes(randomInt(1025)).toString('latin1')];
        const associatedData = data.of(key, context);
        const nonceKey = hmacSha256(hmacKey(hedgingKey(bytes)), associatedData);
        const drawn = randomBytes(NONCE_BYTES);
        const plaintext = encodeValue('string', value);
        const nonce = nonces === 'hedged' ? hedged(nonceKey, drawn, plaintext) : drawn;
        const sealed = sealWithNonce(new Xaes256Gcm(bytes), nonce, plaintext, associatedData);
        const header = keyHeader(KEY_ID, FORMATS.bound);
        expect(seal(value, context, drawn)).toEqual(Buffer.concat([header, sealed]));
      }
    }
  });

  it('need none of the other for a short value of any type', () => {
    const key = staticKey({ id: KEY_ID });
    const refuse = (): never => {
      throw new Error('JavaScript was asked');
    };
    const aead = { ...key.aead, nonceBytes: NONCE_BYTES, seal: refuse, open: refuse };
    for (const type of VALUE_TYPES) {
      for (const storage of STORAGES) {
        const keys = new StaticKeySource([{ ...key, aead }]);
        const cipher = new FieldCipher(fieldPolicy({ type, storage }), APPLICATION, keys);
        const value = RANDOM[type]();
        expect(cipher.decrypt(cipher.encrypt(value))).toStrictEqual(value);
        expect(cipher.decrypt(cipher.sealRaw(cipher.openRaw(cipher.encrypt(value))))).toStrictEqual(
          value,
        );
      }
    }
  });

  it('make the same bytes of the same nonce, hedged or as it was drawn', () => {
    const bytes = Buffer.alloc(32, 1);
    const header = keyHeader(KEY_ID);
    const associatedData = new AssociatedData(APPLICATION, 'Patient.secret').forKey(
      staticKey({ id: KEY_ID }),
    );
    const nonceKey = hmacSha256(hmacKey(hedgingKey(bytes)), associatedData);
    for (const nonces of ['random', 'hedged'] as const) {
      const seal = nativeDataKey('xaes-256-gcm', bytes, header, nonces)!.sealer(
        associatedData,
        TYPE_TAGS.string,
        false,
        NATIVE_FORMS.text,
      )!;
      for (let i = 0; i < VALUES; i += 1) {
        const value = randomText();
        const drawn = randomBytes(NONCE_BYTES);
        const plaintext = encodeValue('string', value);
        const nonce = nonces === 'hedged' ? hedged(nonceKey, drawn, plaintext) : drawn;
        const sealed = sealWithNonce(new Xaes256Gcm(bytes), nonce, plaintext, associatedData);
        expect(seal(value, drawn)).toEqual(Buffer.concat([header, sealed]));
      }
    }
  });

  it.each([8190, 8191, 8192, 10_000, 100_000])(
    'agree about a value of %i characters, whichever of them does it',
    (length) => {
      for (const storage of STORAGES) {
        const { native, javaScript } = pair('string', storage);
        for (const value of [
          'x'.repeat(length),
          'é'.repeat(length / 2),
          '\u{1f600}'.repeat(length / 4),
        ]) {
          expect(javaScript.decrypt(native.encrypt(value))).toBe(value);
          expect(native.decrypt(javaScript.encrypt(value))).toBe(value);
        }
      }
    },
  );

  it('read a plaintext that is not UTF-8 alike', () => {
    const broken = [
      'c3',
      '80',
      'e282',
      'f09f98',
      'eda080',
      'f4908080',
      'c0af',
      '41ff42',
      'efbbbf41',
    ];
    for (const type of ['string', 'json'] as const) {
      const { native, javaScript } = pair(type, 'text');
      for (const content of broken) {
        const tag = Buffer.of(TYPE_TAGS[type]);
        const stored = native.sealRaw(Buffer.concat([tag, Buffer.from(content, 'hex')]));
        expect(outcome(() => native.decrypt(stored))).toStrictEqual(
          outcome(() => javaScript.decrypt(stored)),
        );
      }
    }
  });

  it('refuse a value of another type, and a content of the wrong length, alike', () => {
    for (const written of VALUE_TYPES) {
      const stored = pair(written, 'text').native.encrypt(RANDOM[written]());
      for (const type of VALUE_TYPES) {
        const { native, javaScript } = pair(type, 'text');
        expect(outcome(() => native.decrypt(stored))).toStrictEqual(
          outcome(() => javaScript.decrypt(stored)),
        );
        for (const length of [0, 1, 7, 9]) {
          const odd = native.sealRaw(
            Buffer.concat([Buffer.of(TYPE_TAGS[type]), randomBytes(length)]),
          );
          expect(outcome(() => native.decrypt(odd))).toStrictEqual(
            outcome(() => javaScript.decrypt(odd)),
          );
        }
      }
    }
  });
});

/** What takes the place of the second half of a nonce that was drawn. */
function hedged(nonceKey: Buffer, drawn: Buffer, plaintext: Buffer): Buffer {
  const mac = hmacSha256(hmacKey(nonceKey), Buffer.concat([drawn, plaintext]));
  return Buffer.concat([drawn.subarray(0, NONCE_BYTES / 2), mac.subarray(0, NONCE_BYTES / 2)]);
}
