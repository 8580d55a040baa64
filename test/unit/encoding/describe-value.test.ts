import { describeValue } from '../../../src/encoding/text';

describe('describeValue', () => {
  it.each<[unknown, string]>([
    [null, 'null'],
    [undefined, 'undefined'],
    ['CANARY', 'a string'],
    [1n, 'a bigint'],
    [Symbol('CANARY'), 'a symbol'],
    [[], 'an array'],
    [{}, 'an object'],
    [new Date(), 'a Date'],
    [Buffer.alloc(1), 'a Uint8Array'],
    [new DataView(new ArrayBuffer(1)), 'a typed array'],
    [new Map(), 'a Map'],
    [new WeakSet(), 'a WeakSet'],
  ])('names the kind of %p only', (value, kind) => {
    expect(describeValue(value)).toBe(kind);
  });

  it('does not call the value to find out', () => {
    const hostile = new Proxy(
      {},
      {
        get: () => {
          throw new Error('was asked');
        },
      },
    );
    const revoked = Proxy.revocable([], {});
    revoked.revoke();

    expect(describeValue(hostile)).toBe('an object');
    expect(describeValue(revoked.proxy)).toBe('an object');
  });
});
