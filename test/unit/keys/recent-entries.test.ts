import { RecentEntries } from '../../../src/keys/cache/recent-entries';

/** Sets entries `from` to `to`, without the last. */
function fill(entries: RecentEntries<number>, from: number, to: number): void {
  for (let i = from; i < to; i++) entries.set(String(i), i);
}

describe('Recent entries', () => {
  let now = 0;
  let entries: RecentEntries<number>;
  beforeEach(() => {
    now = 0;
    entries = new RecentEntries(() => now);
  });

  it('are bounded, however many come', () => {
    for (let round = 0; round < 100; round++) {
      now += 10_000;
      fill(entries, round * 1000, (round + 1) * 1000);
      expect(entries.size).toBeLessThanOrEqual(2 * 4096 + 1000);
    }
    expect(entries.get('0')).toBeUndefined();
    expect(entries.get('99999')).toBe(99_999);
  });

  it('stay while they are in use, however many there are', () => {
    fill(entries, 0, 20_000);
    now += 1000;
    fill(entries, 20_000, 30_000);
    for (let i = 0; i < 30_000; i++) expect(entries.get(String(i))).toBe(i);
  });

  it('stay when they are used again', () => {
    entries.set('kept', -1);
    for (let round = 0; round < 20; round++) {
      now += 10_000;
      expect(entries.get('kept')).toBe(-1);
      fill(entries, round * 4096, (round + 1) * 4096);
    }
  });

  it('are deleted one by one, by a test, or all', () => {
    fill(entries, 0, 5000);
    entries.delete('1');
    entries.deleteIf((entry) => entry % 2 === 0);
    expect(['1', '2', '3', '4998', '4999'].map((key) => entries.get(key))).toEqual([
      ...[undefined, undefined, 3, undefined, 4999],
    ]);
    entries.clear();
    expect(entries.size).toBe(0);
  });
});
