import { KeyStateError } from '../../../src/errors';
import type { Process } from '../../support/key-fixtures';
import {
  FakeKms,
  NO_ROWS,
  prepare,
  settle,
  startProcess,
  TTL_MS,
} from '../../support/key-fixtures';
import { MemoryKeyStore } from '../../support/memory-key-store';

async function startReady(parts: Parameters<typeof startProcess>[0] = {}): Promise<Process> {
  const process = startProcess(parts);
  await prepare(process, ['default'], { index: true });
  return process;
}

const states = ({ store }: Process): string[] =>
  store.rows
    .filter(({ purpose }) => purpose === 'data')
    .map(({ version, state }) => `v${String(version)} ${state}`);

describe('suspending a key', () => {
  it('stops writing with it at once, reads on, and ends when it is resumed', async () => {
    const process = await startReady();
    const { id, prefix } = process.keys.activeKey('default');
    const { operations } = process.keys;

    expect(await operations.suspend(id)).toMatchObject({ id, state: 'suspended' });
    expect(await operations.suspend(id)).toMatchObject({ id, state: 'suspended' });
    expect(() => process.keys.activeKey('default')).toThrow(KeyStateError);
    await expect(prepare(process, ['default'], { index: false })).rejects.toMatchObject({
      retryable: false,
      keyId: id,
      message: expect.stringMatching(`suspended.*Resume key ${id}, or rotate`) as string,
    });
    expect(process.keys.keyByPrefix(prefix).id).toBe(id);

    expect(await operations.resume(id)).toMatchObject({ state: 'active', deactivatedAt: null });
    await prepare(process, ['default'], { index: false });
    expect(process.keys.activeKey('default').id).toBe(id);
    expect(states(process)).toEqual(['v1 active']);
    const told = process.events.filter(({ type }) => type !== 'keyLoadFailed');
    expect(told.slice(-2)).toEqual([
      { type: 'keySuspended', purpose: 'data', keyId: id, keyName: 'default', version: 1 },
      { type: 'keyResumed', purpose: 'data', keyId: id, keyName: 'default', version: 1 },
    ]);
  });

  it('stops other processes as soon as they refresh, long before their keys are too old', async () => {
    const process = await startReady();
    const other = await startReady({ store: process.store, kms: process.kms });
    const { id } = process.keys.activeKey('default');
    await process.keys.operations.suspend(id);
    expect(other.keys.activeKey('default').id).toBe(id);

    other.clock.advance(TTL_MS);
    expect(other.keys.prepare(['default'], { index: false })).toBeUndefined();
    await settle();
    expect(() => other.keys.activeKey('default')).toThrow('is suspended');

    await process.keys.operations.resume(id);
    await prepare(other, ['default'], { index: false });
    expect(other.keys.activeKey('default').id).toBe(id);
  });

  it('is left by a rotation; the key is deactivated when it is resumed', async () => {
    const process = await startReady();
    const { id } = process.keys.activeKey('default');
    const { operations } = process.keys;
    await operations.suspend(id);
    expect(await operations.maintain({}, NO_ROWS)).toMatchObject({
      announced: [],
      failures: [],
    });
    await process.keys.rotate('default');
    expect(process.keys.activeKey('default').version).toBe(2);
    expect(states(process)).toEqual(['v1 suspended', 'v2 active']);

    const resumed = await operations.resume(id);
    expect(resumed).toMatchObject({ state: 'deactivated', deactivatedAt: expect.any(Date) });
    expect(states(process)).toEqual(['v1 deactivated', 'v2 active']);
  });

  it('leads to compromised and destroyed, too, the latter after the grace period', async () => {
    const process = await startReady();
    const { id } = process.keys.activeKey('default');
    const { operations } = process.keys;
    await operations.suspend(id);
    await expect(operations.destroy(id, NO_ROWS, 60_000)).rejects.toMatchObject({
      retryable: true,
    });
    expect(await operations.revoke(id)).toMatchObject({
      key: { state: 'compromised' },
      replacement: null,
    });
    expect(await operations.destroy(id, NO_ROWS, 0)).toMatchObject({
      previousState: 'compromised',
    });
  });

  it('is refused for keys that are not active, and resuming for those that are not suspended', async () => {
    const process = await startReady();
    const { id } = process.keys.activeKey('default');
    const { operations } = process.keys;
    await expect(operations.resume(id)).rejects.toThrow('is active, not suspended');
    await process.keys.rotate('default');
    await expect(operations.suspend(id)).rejects.toThrow('cannot become suspended');
    const root = process.store.rows.find(({ purpose }) => purpose === 'index')?.id ?? '';
    await expect(operations.suspend(root)).rejects.toBeInstanceOf(KeyStateError);
    await expect(operations.resume('0'.repeat(16))).rejects.toMatchObject({
      code: 'ERR_KEY_NOT_FOUND',
    });
    expect(states(process)).toEqual(['v1 deactivated', 'v2 active']);
  });

  it('happens once among processes, also against one that rotates', async () => {
    const store = new MemoryKeyStore();
    const kms = new FakeKms();
    const processes = await Promise.all([1, 2, 3].map(() => startReady({ store, kms })));
    const [first, second, third] = processes as [Process, Process, Process];
    const { id } = first.keys.activeKey('default');
    await Promise.all([first, second].map(({ keys }) => keys.operations.suspend(id)));
    expect(processes.flatMap(({ events }) => events).filter(isSuspension)).toHaveLength(1);

    await Promise.all([second.keys.operations.resume(id), third.keys.rotate('default')]);
    const after = states(first);
    expect(after.filter((state) => state.endsWith(' active'))).toHaveLength(1);
    expect(after).not.toContain('v1 suspended');
  });
});

function isSuspension({ type }: { readonly type: string }): boolean {
  return type === 'keySuspended';
}
