import { CHANGE_MS, endOfWait, SETTLING_MS } from '../../../src/keys/store/watched-key-store';
import type { Process } from '../../support/key-fixtures';
import { MAX_AGE_MS, prepare, startProcess } from '../../support/key-fixtures';

async function started(): Promise<Process & { time: { now: number } }> {
  const process = startProcess();
  const time = { now: new Date('2026-01-01T00:00:00Z').getTime() };
  process.store.time = () => time.now;
  await prepare(process, ['default'], { index: true });
  return { ...process, time };
}

/** Lets time pass within the transactions of a store, as where a process is stopped in one. */
function slowTransactions({ store, time }: Awaited<ReturnType<typeof started>>, times: number) {
  const apply = store.apply.bind(store);
  let left = times;
  store.apply = (changes, confirm) =>
    apply(changes, (connection) => {
      if (left > 0) time.now += CHANGE_MS + 2000;
      left -= 1;
      return confirm?.(connection) ?? Promise.resolve(true);
    });
}

describe('A change of a key', () => {
  it('is made again where it took so long that a wait from its date would be too short', async () => {
    const process = await started();
    slowTransactions(process, 1);
    await process.keys.rotate('default');
    const [old] = process.store.rows.filter(({ purpose }) => purpose === 'data');
    expect(old?.state).toBe('deactivated');
    expect(process.time.now - Number(old?.deactivatedAt)).toBeLessThanOrEqual(1000);
  });

  it('is given up, retryable, where it always takes that long', async () => {
    const process = await started();
    slowTransactions(process, 100);
    const [active] = process.store.rows;
    await expect(
      process.keys.operations.revoke(active?.id ?? '', { replace: false }),
    ).rejects.toMatchObject({ code: 'ERR_KEY_STATE', retryable: true });
    expect(process.store.rows[0]?.state).toBe('active');
  });

  it('is waited for longer than asked, but not where nothing is to be waited for', () => {
    const date = new Date('2026-01-01T00:00:00Z');
    expect(Number(endOfWait(date, 5)) - Number(date)).toBe(5 + SETTLING_MS);
    expect(endOfWait(date, 0)).toEqual(date);
  });
});

describe('A transaction that sees the key table as it was', () => {
  it('confirms a key no younger than itself, and none when it is too old', async () => {
    const process = await started();
    const { keys, store, clock } = process;
    clock.advance(MAX_AGE_MS);
    store.snapshotAgeMs = MAX_AGE_MS - 1;
    await prepare(process, ['default'], { index: false }, 'held');
    expect(keys.activeKey('default').version).toBe(1);
    clock.advance(1);
    expect(() => keys.activeKey('default')).toThrow(/not confirmed/);

    store.snapshotAgeMs = MAX_AGE_MS;
    await expect(prepare(process, ['default'], { index: false }, 'held')).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
      retryable: true,
    });
    await prepare(process, ['default'], { index: false });
    expect(keys.activeKey('default').version).toBe(1);
  });

  it('leaves a key that another statement has confirmed at this moment for a retry', async () => {
    const { keys, clock } = await started();
    clock.advance(MAX_AGE_MS);
    const confirming = keys.confirm(['default'], { index: false });
    expect(() => keys.activeKey('default')).toThrow(
      expect.objectContaining({ code: 'ERR_KMS_UNAVAILABLE', retryable: true }),
    );
    await confirming;
    expect(keys.activeKey('default').version).toBe(1);
  });

  it('makes no key older that was confirmed since', async () => {
    const process = await started();
    process.clock.advance(MAX_AGE_MS - 1);
    const slow = process.keys.confirm(['default'], { index: false });
    process.store.snapshotAgeMs = MAX_AGE_MS - 5;
    await slow;
    process.clock.advance(MAX_AGE_MS - 1);
    await process.keys.prepare(['default'], { index: false }, 'held');
    expect(process.keys.activeKey('default').version).toBe(1);
  });
});
