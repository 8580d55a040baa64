import {
  FORMATS,
  formatOfPrefix,
  isDataKeyId,
  keyHeader,
  keyIdOfPrefix,
  keyPrefix,
  newDataKeyId,
  unboundPrefix,
} from '../../../src/format/data-key-id';

describe('newDataKeyId', () => {
  it('makes 16 hexadecimal digits, another time other ones', () => {
    const ids = Array.from({ length: 100 }, newDataKeyId);
    expect(ids.every(isDataKeyId)).toBe(true);
    expect(new Set(ids).size).toBe(100);
  });
});

describe('keyHeader', () => {
  it('is the format byte and the id', () => {
    expect([...keyHeader('0123456789abcdef')]).toEqual([
      1, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
    ]);
  });

  it.each(['', '0123456789ABCDEF', '0123456789abcde', '0123456789abcdef0', '0123456789abcdeg'])(
    'refuses %j',
    (id) => {
      expect(() => keyHeader(id)).toThrow('16 lower-case hexadecimal digits');
      expect(isDataKeyId(id)).toBe(false);
    },
  );
});

describe('keyPrefix', () => {
  it('is the header in 12 characters, and names the id again', () => {
    expect(keyPrefix('0123456789abcdef')).toBe('AQEjRWeJq83v');
    expect(keyIdOfPrefix('AQEjRWeJq83v')).toBe('0123456789abcdef');
  });
});

describe('keyIdOfPrefix', () => {
  it.each([
    ['another format', 'AwEjRWeJq83v'],
    ['too few characters', 'AQEjRWeJq83'],
    ['too many characters', 'AQEjRWeJq83vA'],
    ['another alphabet', 'AQEjRWeJq8+v'],
  ])('knows no id in %s', (_, prefix) => {
    expect(keyIdOfPrefix(prefix)).toBeUndefined();
  });
});

describe('the prefix of a bound value', () => {
  it('names the same key as that of an unbound one, whatever the id', () => {
    for (let first = 0; first < 256; first++) {
      const id = first.toString(16).padStart(2, '0').repeat(8);
      const bound = keyPrefix(id, FORMATS.bound);
      expect(bound).toMatch(/^A[g-v]/);
      expect(unboundPrefix(bound)).toBe(keyPrefix(id));
      expect(unboundPrefix(keyPrefix(id))).toBe(keyPrefix(id));
      expect(keyIdOfPrefix(bound)).toBe(id);
      expect(formatOfPrefix(bound)).toBe(FORMATS.bound);
    }
  });
});
