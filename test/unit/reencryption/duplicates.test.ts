import { findDuplicates } from '../../../src/reencryption/foresight/duplicates';
import type { Claim } from '../../../src/reencryption/foresight/duplicates';

const claim = (key: number, content: string, more: Partial<Claim> = {}): Claim => ({
  ...{ index: 0, content, key: [key], held: false },
  ...more,
});

/** Reads the claims in pages of three, and counts how often. */
function source(claims: readonly Claim[]) {
  let reads = 0;
  return {
    get reads() {
      return reads;
    },
    read: async function* () {
      reads += 1;
      for (let at = 0; at < claims.length; at += 3) {
        yield await Promise.resolve(claims.slice(at, at + 3));
      }
    },
  };
}

describe('findDuplicates', () => {
  it('reads once and names nothing where all differ', async () => {
    const rows = source([claim(1, 'a'), claim(2, 'b'), claim(3, 'a', { index: 1 })]);
    expect(await findDuplicates(3, rows.read)).toEqual({ count: 0, listed: [] });
    expect(rows.reads).toBe(1);
  });

  it('leaves a content to the row that has it, else to the first', async () => {
    const rows = source([
      ...[claim(1, 'a'), claim(2, 'b'), claim(3, 'a')],
      ...[claim(4, 'b', { held: true }), claim(5, 'b'), claim(6, 'c')],
    ]);
    expect(await findDuplicates(6, rows.read)).toEqual({
      count: 3,
      listed: [
        { index: 0, key: [3], holder: [1] },
        { index: 0, key: [2], holder: [4] },
        { index: 0, key: [5], holder: [4] },
      ],
    });
    expect(rows.reads).toBe(2);
  });

  it('goes over more claims than it keeps in memory part by part, to the same end', async () => {
    const claims = Array.from({ length: 1000 }, (_, i) => claim(i, String(i % 990)));
    const rows = source(claims);
    const { count, listed } = await findDuplicates(3 * 2 ** 22, rows.read);
    expect(count).toBe(10);
    expect(listed.map(({ key, holder }) => Number(key[0]) - Number(holder[0]))).toEqual(
      Array.from({ length: 10 }, () => 990),
    );
    expect(rows.reads).toBe(4);
  });

  it('counts all, and lists a hundred', async () => {
    const claims = Array.from({ length: 1000 }, (_, i) => claim(i, String(i % 400)));
    const { count, listed } = await findDuplicates(1000, source(claims).read);
    expect([count, listed.length]).toEqual([600, 100]);
  });
});
