import { runInNewContext } from 'node:vm';

import type { ValueType } from '../../../src/encoding/value-codec';
import { decodeValue, encodeValue, TYPE_TAGS } from '../../../src/encoding/value-codec';
import { ValueCodecError } from '../../../src/encoding/value-codec-error';

class Timestamp extends Date {}

const roundTrips: readonly (readonly [ValueType, unknown])[] = [
  ['string', ''],
  ['string', 'a\u0000b'],
  ['string', '\ufeff\u{1f600} ẞ e\u0301'],
  ['number', 0],
  ['number', -0],
  ['number', NaN],
  ['number', Infinity],
  ['number', -Infinity],
  ['number', Number.MIN_VALUE],
  ['number', Number.MAX_SAFE_INTEGER + 2],
  ['bigint', 0n],
  ['bigint', -(2n ** 200n)],
  ['boolean', true],
  ['boolean', false],
  ['date', new Date(0)],
  ['date', new Date(-8.64e15)],
  ['json', { a: [1, null, { b: 'c' }] }],
  ['json', []],
  ['json', 'text'],
  ['json', false],
];

describe('encodeValue and decodeValue', () => {
  it.each(roundTrips)('give back %s %p exactly', (type, value) => {
    expect(decodeValue(type, encodeValue(type, value))).toStrictEqual(value);
  });

  it('give back bytes as a Buffer with memory of its own', () => {
    const bytes = Uint8Array.of(0, 1, 255);
    const back = decodeValue('bytes', encodeValue('bytes', bytes)) as Buffer;

    expect(Buffer.isBuffer(back)).toBe(true);
    expect([...back]).toEqual([0, 1, 255]);
    expect(back.buffer.byteLength).toBe(3);
  });

  it('give back a Date subclass as a Date', () => {
    const back = decodeValue('date', encodeValue('date', new Timestamp(5)));
    expect(back).toStrictEqual(new Date(5));
  });

  it('take values of another realm', () => {
    const foreign = runInNewContext('({ date: new Date(5), bytes: Uint8Array.of(7) })') as {
      date: Date;
      bytes: Uint8Array;
    };
    expect(decodeValue('date', encodeValue('date', foreign.date))).toStrictEqual(new Date(5));
    expect(encodeValue('bytes', foreign.bytes)).toEqual(Buffer.of(TYPE_TAGS.bytes, 7));
  });
});

describe('encodeValue', () => {
  it.each<[ValueType, unknown, string]>([
    ['string', 5, 'expected a string, got a number'],
    ['string', null, 'expected a string, got null'],
    ['string', ['a'], 'expected a string, got an array'],
    ['string', Object('a'), 'expected a string, got a boxed primitive'],
    ['number', '5', 'expected a number, got a string'],
    ['number', 5n, 'expected a number, got a bigint'],
    ['bigint', 5, 'expected a bigint, got a number'],
    ['boolean', 0, 'expected a boolean, got a number'],
    ['date', '1970-01-01', 'expected a Date, got a string'],
    ['date', 0, 'expected a Date, got a number'],
    ['date', new Date(NaN), 'the Date is invalid'],
    ['bytes', 'ff', 'expected a Uint8Array, got a string'],
    ['bytes', new Uint16Array(1), 'expected a Uint8Array, got a typed array'],
    ['bytes', new ArrayBuffer(1), 'expected a Uint8Array, got an ArrayBuffer'],
    ['json', undefined, 'expected a JSON value, got undefined'],
    ['json', null, 'expected a JSON value, got null'],
    ['string', 'a\ud800', 'lone surrogate'],
    ['string', '\udc00', 'lone surrogate'],
  ])('refuses, for a %s, %p', (type, value, reason) => {
    expect(() => encodeValue(type, value)).toThrow(ValueCodecError);
    expect(() => encodeValue(type, value)).toThrow(reason);
  });

  it('gives every type a tag of its own, below 0x80', () => {
    const tags = Object.values(TYPE_TAGS);
    expect(new Set(tags).size).toBe(tags.length);
    expect(Math.max(...tags)).toBeLessThan(0x80);
  });
});

describe('decodeValue', () => {
  it('refuses the encoding of another type and names both', () => {
    const date = encodeValue('date', new Date(0));
    expect(() => decodeValue('number', date)).toThrow(
      new ValueCodecError('it holds a date, the field is a number'),
    );
  });

  it.each<[string, ValueType, Buffer]>([
    ['nothing', 'string', Buffer.alloc(0)],
    ['a tag that no type has', 'string', Buffer.of(0x7f, 1)],
    ['a number of seven bytes', 'number', Buffer.alloc(8, TYPE_TAGS.number)],
    ['a bigint with a leading zero', 'bigint', Buffer.from('\u000301')],
    ['a bigint without digits', 'bigint', Buffer.from('\u0003')],
    ['negative zero', 'bigint', Buffer.from('\u0003-0')],
    ['a boolean of 2', 'boolean', Buffer.of(TYPE_TAGS.boolean, 2)],
    ['a boolean of no byte', 'boolean', Buffer.of(TYPE_TAGS.boolean)],
    ['a date of NaN', 'date', Buffer.concat([Buffer.of(TYPE_TAGS.date), float64(NaN)])],
    ['a date out of range', 'date', Buffer.concat([Buffer.of(TYPE_TAGS.date), float64(1e17)])],
    ['JSON that is none', 'json', Buffer.from('\u0006{"secret":')],
  ])('refuses %s', (_, type, encoded) => {
    expect(() => decodeValue(type, encoded)).toThrow(ValueCodecError);
    expect(() => decodeValue(type, encoded)).not.toThrow('secret');
  });
});

function float64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return bytes;
}
