import { runInNewContext } from 'node:vm';

import { stringifyExactly } from '../../../src/encoding/exact-json';
import { ValueCodecError } from '../../../src/encoding/value-codec-error';

const SECRET = 'CANARY-7731';

function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level += 1) value = [value];
  return value;
}

describe('stringifyExactly', () => {
  it.each<[string, unknown]>([
    ['scalars', [1, -1.5e-7, 1e21, 'a', '', true, false, null]],
    ['nested objects', { a: { b: [{ c: 1 }, []] }, d: {} }],
    ['text that needs escapes', { '"\\\n\u0000\u2028': '"\\\n\u0000\u2028\u{1f600}' }],
    ['numeric keys, which come first', { b: 1, 2: 2, 1: 1 }],
    ['a valid Date', { at: new Date(0) }],
    ['members that are undefined', { a: undefined, b: 1, c: undefined }],
    [
      'a class instance',
      new (class Visit {
        readonly ward = 'B';
      })(),
    ],
    ['an object without a prototype', Object.assign(Object.create(null) as object, { a: 1 })],
    ['a toJSON that is told its key', { a: { toJSON: (key: string) => [key] } }],
  ])('writes %s as JSON.stringify does', (_, value) => {
    expect(stringifyExactly(value)).toBe(JSON.stringify(value));
  });

  it('keeps -0, which JSON.stringify loses', () => {
    expect(stringifyExactly({ a: -0 })).toBe('{"a":-0}');
    expect(Object.is((JSON.parse('{"a":-0}') as { a: number }).a, -0)).toBe(true);
  });

  it('keeps a member called __proto__ as a member of its own', () => {
    const value: unknown = JSON.parse('{"__proto__":{"admin":true},"a":1}');
    const back = JSON.parse(stringifyExactly(value)) as object;

    expect(Object.keys(back)).toEqual(['__proto__', 'a']);
    expect(Object.getPrototypeOf(back)).toBe(Object.prototype);
    expect(({} as { admin?: boolean }).admin).toBeUndefined();
  });

  it.each<[string, unknown, string]>([
    ['a bigint', { a: 1n }, 'a bigint'],
    ['NaN', [NaN], 'NaN or an infinity'],
    ['an infinity', [-Infinity], 'NaN or an infinity'],
    ['a function', { a: () => 1 }, 'a function'],
    ['a symbol', { a: Symbol(SECRET) }, 'a symbol'],
    ['undefined in an array', [undefined], 'undefined'],
    ['undefined alone', undefined, 'undefined'],
    ['a hole in an array', Array<number>(2), 'holes'],
    ['a Map', { a: new Map() }, 'a Map'],
    ['a Set', { a: new Set() }, 'a Set'],
    ['a Uint8Array', { a: new Uint8Array(1) }, 'a Uint8Array'],
    ['a Buffer, for all its toJSON', { a: Buffer.from(SECRET) }, 'a Uint8Array'],
    ['another typed array', { a: new Float64Array(1) }, 'a typed array'],
    ['an ArrayBuffer', { a: new ArrayBuffer(1) }, 'an ArrayBuffer'],
    ['a regular expression', { a: /CANARY-7731/ }, 'a regular expression'],
    ['an Error', { a: new Error(SECRET) }, 'an Error'],
    ['a Promise', { a: Promise.resolve() }, 'a Promise'],
    ['a boxed string', { a: Object('CANARY-7731') as unknown }, 'a boxed primitive'],
    ['an invalid Date', { a: new Date(NaN) }, 'an invalid Date'],
    ['a lone surrogate in text', { a: '\ud800' }, 'a lone surrogate'],
    ['a lone surrogate in a key', { '\udc00': 1 }, 'a lone surrogate'],
    ['a Map of another realm', { a: runInNewContext('new Map()') as unknown }, 'a Map'],
  ])('refuses %s by name', (_, value, reason) => {
    expect(() => stringifyExactly(value)).toThrow(ValueCodecError);
    expect(() => stringifyExactly(value)).toThrow(reason);
    expect(() => stringifyExactly(value)).not.toThrow(SECRET);
  });

  it('refuses what toJSON answers as strictly as what it finds', () => {
    expect(() => stringifyExactly({ toJSON: () => new Map() })).toThrow('a Map');
    expect(() => stringifyExactly({ toJSON: () => 1n })).toThrow('a bigint');
  });

  it('says no more of a toJSON, getter or proxy that throws than that it did', () => {
    const fail = (): never => {
      throw new Error(SECRET);
    };
    const getter = Object.defineProperty({}, 'a', { get: fail, enumerable: true });

    const revoked = Proxy.revocable({}, {});
    revoked.revoke();
    const trap = new Proxy({}, { ownKeys: fail });

    for (const value of [{ toJSON: fail }, getter, trap, revoked.proxy]) {
      expect(() => stringifyExactly(value)).toThrow(ValueCodecError);
      expect(() => stringifyExactly(value)).toThrow('threw while the value was being read');
      expect(() => stringifyExactly(value)).not.toThrow(SECRET);
    }
  });

  it('takes 512 levels and refuses 513', () => {
    expect(stringifyExactly(nested(512))).toBe(JSON.stringify(nested(512)));
    expect(() => stringifyExactly(nested(513))).toThrow('deeper than 512 levels');
  });

  it('refuses a value that refers to itself, and one that toJSON makes up without end', () => {
    const cycle: Record<string, unknown> = {};
    cycle['self'] = { a: [cycle] };
    const endless = (): object => ({ a: { toJSON: endless } });

    expect(() => stringifyExactly(cycle)).toThrow('a cycle');
    expect(() => stringifyExactly(endless())).toThrow(ValueCodecError);
  });

  it('takes one object in two places, which is no cycle', () => {
    const shared = { a: 1 };
    expect(stringifyExactly([shared, shared])).toBe('[{"a":1},{"a":1}]');
  });
});
