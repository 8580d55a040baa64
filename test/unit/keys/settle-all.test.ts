import { settleAll } from '../../../src/async/settle-all';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('settleAll', () => {
  it('runs every item, never more at a time than allowed', async () => {
    const done: number[] = [];
    let running = 0;
    let most = 0;
    await settleAll(
      Array.from({ length: 20 }, (_, index) => index),
      3,
      async (item) => {
        running += 1;
        most = Math.max(most, running);
        await turn();
        running -= 1;
        done.push(item);
      },
    );
    expect(done.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, index) => index));
    expect(most).toBe(3);
  });

  it('finishes the others when some fail, and throws the first failure', async () => {
    const done: number[] = [];
    const run = settleAll([1, 2, 3, 4, 5], 2, async (item) => {
      await turn();
      if (item === 2 || item === 4) throw new Error(`item ${String(item)}`);
      done.push(item);
    });
    await expect(run).rejects.toThrow('item 2');
    expect(done).toEqual([1, 3, 5]);
  });

  it('does nothing for no items', async () => {
    await expect(settleAll([], 4, () => Promise.reject(new Error()))).resolves.toBeUndefined();
  });
});
