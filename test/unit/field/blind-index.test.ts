import { createHmac } from 'node:crypto';
import { inspect } from 'node:util';

import { hkdfSha256 } from '../../../src/crypto/hmac';
import { lengthPrefixed } from '../../../src/encoding/length-prefixed';
import type { ValueType } from '../../../src/encoding/value-codec';
import { InvalidFieldPolicyError, UnsupportedValueError } from '../../../src/errors';
import type { BlindIndexPolicy } from '../../../src/field/blind-index';
import { BlindIndex } from '../../../src/field/blind-index';
import type { FieldPolicy } from '../../../src/field/field-policy';
import { resolveNormalizer } from '../../../src/field/normalizer';
import { fieldPolicy, thrownBy } from '../../support/field-fixtures';
import { staticIndexRoot, StaticKeySource } from '../../support/static-key-source';

const EXACT: BlindIndexPolicy = {
  name: '',
  normalizer: resolveNormalizer('exact'),
  bits: undefined,
  unique: false,
  previous: [],
};

function blindIndex(
  field: Partial<FieldPolicy> = {},
  index: Partial<BlindIndexPolicy> = {},
  options: { application?: string; keys?: StaticKeySource } = {},
): BlindIndex {
  const { application = 'clinic', keys = new StaticKeySource([]) } = options;
  return new BlindIndex(fieldPolicy(field), { ...EXACT, ...index }, application, keys);
}

const email = { normalizer: resolveNormalizer('email') };

describe('BlindIndex.token', () => {
  it('is HMAC-SHA-256 of type tag and value under a key derived for this index alone', () => {
    const info = lengthPrefixed([
      'typeorm-field-encryption/v1/index-key',
      'clinic',
      'Patient.secret',
      '',
      'exact',
      '1',
    ]);
    const key = hkdfSha256({ key: Buffer.alloc(32, 9), info, bytes: 32 });
    const expected = createHmac('sha256', key).update('\u0001Ada').digest('base64url');

    expect(blindIndex().token('Ada')).toBe(expected);
    expect(expected).toHaveLength(43);
  });

  it('is the same for what the normalizer takes for the same', () => {
    const index = blindIndex({}, email);
    expect(index.token(' ADA@example.org')).toBe(index.token('ada@Example.org'));
    expect(index.token('bob@example.org')).not.toBe(index.token('ada@Example.org'));
  });

  it('differs between applications, fields, index names, normalizers and versions', () => {
    const custom = (version: number): Partial<BlindIndexPolicy> => ({
      normalizer: { id: 'custom', version, normalize: (value) => value },
    });
    const tokens = [
      blindIndex(),
      blindIndex({}, {}, { application: 'shop' }),
      blindIndex({ fieldId: 'Patient.other' }),
      blindIndex({}, { name: 'second' }),
      blindIndex({}, email),
      blindIndex({}, custom(1)),
      blindIndex({}, custom(2)),
    ].map((index) => index.token('ada'));

    expect(new Set(tokens).size).toBe(tokens.length);
  });

  it('differs between types whose values are written alike', () => {
    expect(blindIndex({ type: 'bigint' }).token(5n)).not.toBe(blindIndex().token('5'));
  });

  it.each<[ValueType, unknown, unknown]>([
    ['number', 1.5, 1.6],
    ['bigint', 5n, -5n],
    ['boolean', true, false],
    ['date', new Date(0), new Date(1)],
    ['bytes', Buffer.of(1), Buffer.of(1, 0)],
  ])('tells values of type %s apart', (type, a, b) => {
    const index = blindIndex({ type });
    expect(index.token(a)).toBe(index.token(a));
    expect(index.token(a)).not.toBe(index.token(b));
  });

  it('takes -0 for 0', () => {
    const index = blindIndex({ type: 'number' });
    expect(index.token(-0)).toBe(index.token(0));
  });

  it.each([1, 7, 8, 9, 20, 32, 255])('keeps the first %i bits and zeros the rest', (bits) => {
    const full = Buffer.from(blindIndex().token('Ada'), 'base64url');
    const kept = Buffer.from(blindIndex({}, { bits }).token('Ada'), 'base64url');

    expect(kept).toHaveLength(Math.ceil(bits / 8));
    expect(toBits(kept)).toBe(
      toBits(full)
        .slice(0, bits)
        .padEnd(kept.length * 8, '0'),
    );
  });

  it('follows the index root when it is replaced', () => {
    const keys = new StaticKeySource([]);
    const index = blindIndex({}, {}, { keys });
    const before = index.token('Ada');
    keys.replaceIndexRoots(staticIndexRoot(10));
    expect(index.token('Ada')).not.toBe(before);
    keys.replaceIndexRoots(staticIndexRoot());
    expect(index.token('Ada')).toBe(before);
  });

  it('gives every token that a stored row may have, the current one first', () => {
    const keys = new StaticKeySource([]);
    const before = blindIndex({}, {}, { keys });
    const index = blindIndex({}, { ...email, previous: [EXACT] }, { keys });
    const [exact, folded] = [before.token('Ada'), blindIndex({}, email, { keys }).token('Ada')];
    expect(before.tokens('Ada')).toEqual([exact]);
    expect(index.tokens('Ada')).toEqual([folded, exact]);

    keys.replaceIndexRoots(staticIndexRoot(10), staticIndexRoot());
    const tokens = index.tokens('Ada');
    expect(tokens).toHaveLength(4);
    expect(tokens[0]).toBe(index.token('Ada'));
    expect(tokens).toEqual(expect.arrayContaining([exact, folded, before.token('Ada')]));
    expect(before.tokens('Ada')).toEqual([before.token('Ada'), exact]);
  });

  it('tells of which root a token may be', () => {
    const keys = new StaticKeySource([]);
    const index = blindIndex({}, { ...email, previous: [EXACT] }, { keys });
    const [old, next] = [staticIndexRoot(), staticIndexRoot(10)];
    const stored = index.token('Ada');
    keys.replaceIndexRoots(next, old);
    expect(index.mayBeOf(old.id, 'Ada', stored)).toBe(true);
    expect(index.mayBeOf(next.id, 'Ada', stored)).toBe(false);
    expect(index.mayBeOf(old.id, 'Ada', index.token('Ada'))).toBe(false);
    // A token of no known form may be of any of them.
    expect(index.mayBeOf(old.id, 'Ada', index.token('Bob'))).toBe(true);
  });

  it('has no token of an earlier definition for what that refused', () => {
    const digits = { normalizer: resolveNormalizer('digits'), bits: undefined };
    const index = blindIndex({}, { previous: [digits] });
    expect(index.tokens('12')).toHaveLength(2);
    expect(index.tokens('\u0661')).toEqual([index.token('\u0661')]);
    expect(thrownBy(() => index.tokens(5))).toBeInstanceOf(UnsupportedValueError);
  });

  it('has each token once where definitions agree on a value', () => {
    const short = { normalizer: resolveNormalizer('exact'), bits: 8 };
    const index = blindIndex({}, { bits: 4, previous: [short] });
    expect(index.isTruncated).toBe(true);
    const values = Array.from({ length: 64 }, (_, i) => index.tokens(String(i)));
    for (const tokens of values) expect(new Set(tokens).size).toBe(tokens.length);
    expect(values.some((tokens) => tokens.length === 1)).toBe(true);
  });

  it.each([
    ['the present definition', { previous: [EXACT] }],
    ['a definition twice', { ...email, previous: [EXACT, EXACT] }],
    ['bits that cannot be', { previous: [{ ...EXACT, bits: 300 }] }],
  ])('refuses %s as a previous one', (_what, index) => {
    expect(thrownBy(() => blindIndex({}, index))).toBeInstanceOf(InvalidFieldPolicyError);
  });

  const throwing = (id: string, normalize: (value: string) => string): BlindIndexPolicy => ({
    ...EXACT,
    normalizer: { id, version: 1, normalize },
  });

  it.each<[string, ValueType, BlindIndexPolicy, unknown, string]>([
    ['another type', 'string', EXACT, 5, 'expected a string, got a number'],
    ['null', 'string', EXACT, null, 'expected a string, got null'],
    ['a lone surrogate', 'string', EXACT, 'CANARY\ud800', 'lone surrogate'],
    ['NaN', 'number', EXACT, NaN, 'NaN equals nothing'],
    ['an invalid Date', 'date', EXACT, new Date(NaN), 'the Date is invalid'],
    ['an unassigned code point', 'string', { ...EXACT, ...email }, 'CANARY\u0378', 'not assigned'],
    [
      'what a normalizer throws at',
      'string',
      throwing('custom', (value) => {
        throw new Error(value);
      }),
      'CANARY',
      'normalizer "custom" threw',
    ],
    [
      'a normalizer that breaks the text',
      'string',
      throwing('custom', () => 'CANARY\ud800'),
      'x',
      'did not answer well-formed text',
    ],
    [
      'a normalizer that answers no text',
      'string',
      throwing('custom', () => 5 as unknown as string),
      'x',
      'did not answer well-formed text',
    ],
  ])('refuses %s without repeating the value', (_, type, policy, value, reason) => {
    const error = thrownBy(() => blindIndex({ type }, policy).token(value));
    expect(error).toBeInstanceOf(UnsupportedValueError);
    expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED_VALUE', property: 'secret' });
    expect(error.message).toContain(reason);
    expect(inspect(error)).not.toContain('CANARY');
  });
});

describe('BlindIndex.matches', () => {
  it('compares what the normalizer leaves, in full even where tokens are truncated', () => {
    const index = blindIndex({}, { ...email, bits: 1 });
    expect(index.matches('ADA@example.org ', 'ada@example.org')).toBe(true);
    expect(index.matches('a@example.org', 'b@example.org')).toBe(false);
  });

  it('compares bytes and numbers by value', () => {
    expect(blindIndex({ type: 'bytes' }).matches(Buffer.of(1), Uint8Array.of(1))).toBe(true);
    expect(blindIndex({ type: 'bytes' }).matches(Buffer.of(1), Buffer.of(1, 2))).toBe(false);
    expect(blindIndex({ type: 'number' }).matches(0, -0)).toBe(true);
  });

  it('finds nothing equal to null', () => {
    const index = blindIndex();
    expect(index.matches(null, 'a')).toBe(false);
    expect(index.matches('a', undefined)).toBe(false);
    expect(index.matches(null, null)).toBe(false);
  });

  it('refuses a value of another type', () => {
    expect(() => blindIndex().matches('a', 5)).toThrow(UnsupportedValueError);
  });
});

describe('BlindIndex', () => {
  it.each<[string, Partial<FieldPolicy>, Partial<BlindIndexPolicy>, string]>([
    ['on JSON', { type: 'json' }, {}, 'a JSON field has no blind index'],
    ['that normalizes numbers', { type: 'number' }, email, 'only strings are normalized'],
    ['of 0 bits', {}, { bits: 0 }, 'bits of a blind index are 1 to 256'],
    ['of 257 bits', {}, { bits: 257 }, 'bits of a blind index are 1 to 256'],
    ['of half a bit', {}, { bits: 0.5 }, 'bits of a blind index are 1 to 256'],
    ['both unique and truncated', {}, { bits: 16, unique: true }, 'cannot be truncated'],
  ])('refuses to be one %s', (_, field, index, problem) => {
    const error = thrownBy(() => blindIndex(field, index));
    expect(error).toBeInstanceOf(InvalidFieldPolicyError);
    expect(error.code).toBe('ERR_FIELD_POLICY');
    expect(error.message).toContain(problem);
  });
});

function toBits(bytes: Buffer): string {
  return [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
}
