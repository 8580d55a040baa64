import type { DataKey } from '../../../src/keys/key-source';
import { KeyCache } from '../../../src/keys/cache/key-cache';
import { staticKey } from '../../support/static-key-source';

function keysFrom(first: number, count: number): DataKey[] {
  return Array.from({ length: count }, (_, index) =>
    staticKey({ id: (first + index).toString(16).padStart(16, '0') }),
  );
}

function held(cache: KeyCache, keys: readonly DataKey[]): number {
  return keys.filter(({ prefix }) => cache.age(prefix, 0) < Infinity).length;
}

describe('KeyCache', () => {
  it('holds no more keys than its capacity', () => {
    const cache = new KeyCache(10);
    for (const key of keysFrom(0, 100)) cache.add([key], 0);
    expect(cache.size).toBe(10);
  });

  it('drops the keys that were added first', () => {
    const cache = new KeyCache(4);
    const keys = keysFrom(0, 6);
    for (const key of keys) cache.add([key], 0);
    expect(held(cache, keys.slice(0, 2))).toBe(0);
    expect(held(cache, keys.slice(2))).toBe(4);
  });

  it('spares the keys that were used since', () => {
    const cache = new KeyCache(4);
    const keys = keysFrom(0, 4);
    const [used, ...idle] = keys;
    if (used === undefined) throw new Error('no key');
    cache.add(keys, 0);
    for (const key of keysFrom(100, 3)) {
      cache.getConfirmedAfter(used.prefix, -1);
      cache.add([key], 0);
    }
    expect(cache.getConfirmedAfter(used.prefix, -1)).toBe(used);
    expect(held(cache, idle)).toBe(0);
  });

  it('drops keys that were used, too, when all were', () => {
    const cache = new KeyCache(4);
    const keys = keysFrom(0, 4);
    cache.add(keys, 0);
    for (const { prefix } of keys) cache.getConfirmedAfter(prefix, -1);
    const more = keysFrom(100, 2);
    cache.add(more, 0);
    expect(cache.size).toBe(4);
    expect(held(cache, more)).toBe(2);
  });

  it('keeps a batch that is larger than its capacity whole, until the next one', () => {
    const cache = new KeyCache(4);
    const batch = keysFrom(0, 9);
    cache.add(batch, 0);
    expect(held(cache, batch)).toBe(9);
    cache.add(keysFrom(100, 1), 0);
    expect(cache.size).toBe(4);
  });

  it('replaces a key that it has instead of counting it twice', () => {
    const cache = new KeyCache(4);
    const keys = keysFrom(0, 4);
    cache.add(keys, 0);
    cache.add(keys, 5);
    expect(cache.size).toBe(4);
    expect(keys.map(({ prefix }) => cache.age(prefix, 7))).toEqual([2, 2, 2, 2]);
  });

  it('hands out no key that was confirmed at the given time or before', () => {
    const cache = new KeyCache(4);
    const [key] = keysFrom(0, 1);
    if (key === undefined) throw new Error('no key');
    cache.add([key], 10);
    expect(cache.getConfirmedAfter(key.prefix, 10)).toBeUndefined();
    expect(cache.getConfirmedAfter(key.prefix, 9)).toBe(key);
    cache.dropConfirmedBy(9);
    expect(cache.size).toBe(1);
    cache.dropConfirmedBy(10);
    expect(cache.size).toBe(0);
  });
});
