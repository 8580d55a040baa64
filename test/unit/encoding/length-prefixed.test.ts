import { lengthPrefixed, readLengthPrefixed } from '../../../src/encoding/length-prefixed';

describe('lengthPrefixed', () => {
  it('writes the count, then each length and its bytes, big-endian', () => {
    expect(Buffer.from(lengthPrefixed(['ab', Uint8Array.of(255)])).toString('hex')).toBe(
      '00000002' + '00000002' + '6162' + '00000001' + 'ff',
    );
  });

  it('writes strings as UTF-8', () => {
    expect(lengthPrefixed(['é'])).toEqual(lengthPrefixed([Uint8Array.of(0xc3, 0xa9)]));
  });

  it('tells no parts from one empty part', () => {
    expect(lengthPrefixed([])).not.toEqual(lengthPrefixed(['']));
  });

  it('tells parts that only differ in where they are divided', () => {
    expect(lengthPrefixed(['ab', 'c'])).not.toEqual(lengthPrefixed(['a', 'bc']));
  });
});

describe('readLengthPrefixed', () => {
  const joined = lengthPrefixed(['a', '', Uint8Array.of(1, 2)]);

  it('gives the parts back', () => {
    const parts = readLengthPrefixed(joined)?.map((part) => Buffer.from(part).toString('hex'));
    expect(parts).toEqual(['61', '', '0102']);
    expect(readLengthPrefixed(lengthPrefixed([]))).toEqual([]);
  });

  it('reads nothing that was cut, extended, or lies about its lengths', () => {
    for (let end = 0; end < joined.length; end += 1) {
      expect(readLengthPrefixed(joined.subarray(0, end))).toBeUndefined();
    }
    expect(readLengthPrefixed(Buffer.concat([joined, Buffer.alloc(1)]))).toBeUndefined();
    expect(readLengthPrefixed(Buffer.alloc(8, 0xff))).toBeUndefined();
  });
});
