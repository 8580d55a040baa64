import { SETTLING_MS } from '../../../src/keys/store/watched-key-store';
import type { KeyManager } from '../../../src/keys/key-manager';
import type { Process } from '../../support/key-fixtures';
import {
  FakeKms,
  MAX_AGE_MS,
  prepare,
  rowsCounted,
  startProcess,
  TTL_MS,
} from '../../support/key-fixtures';
import { MemoryKeyStore } from '../../support/memory-key-store';

const info = Buffer.from('some index');
const column = {
  entity: 'A',
  property: 'b',
  table: 'a',
  column: 'b',
  rows: 1,
  rowsUnderUnknownKeys: 0,
};
const used = (rowsUnderKey: number) =>
  rowsCounted(() => Promise.resolve([{ ...column, rowsUnderKey }]));

/** Processes over one table, whose clock a test moves. */
class Fleet {
  readonly store = new MemoryKeyStore();
  readonly kms = new FakeKms();
  now = new Date('2026-01-01T00:00:00Z').getTime();

  constructor() {
    this.store.time = () => this.now;
  }

  async start(): Promise<Process> {
    const policies = { '*': { cryptoperiodDays: 30, owner: 'nobody' } };
    const process = startProcess({ store: this.store, kms: this.kms, policies });
    await prepare(process, [], { index: true });
    return process;
  }

  get states(): string[] {
    return this.store.rows.map(({ version, state }) => `v${String(version)} ${state}`);
  }
}

function tokensOf(keys: KeyManager<string>): string[] {
  return keys
    .indexRoots()
    .map((root) => root.deriveIndexKey(info).export().toString('hex').slice(0, 8));
}

async function rotated(): Promise<[Fleet, Process]> {
  const fleet = new Fleet();
  const process = await fleet.start();
  await process.keys.operations.rotateIndex({});
  fleet.now += 2 * MAX_AGE_MS + SETTLING_MS;
  await process.keys.operations.rotateIndex({});
  return [fleet, process];
}

describe('rotating the index root', () => {
  it('gives no number twice where the announced root is gone', async () => {
    const fleet = new Fleet();
    const { keys } = await fleet.start();
    const { root } = await keys.operations.rotateIndex({});
    expect(root).toMatchObject({ version: 2 });
    fleet.store.remove(root?.id ?? '');
    expect(await keys.operations.rotateIndex({})).toMatchObject({ root: { version: 3 } });
  });

  it('announces a root, waits until every process must have it, and activates it', async () => {
    const fleet = new Fleet();
    const [first, second] = [await fleet.start(), await fleet.start()];
    const rotate = () => first.keys.operations.rotateIndex({});
    const [old = ''] = tokensOf(first.keys);

    const announced = await rotate();
    expect(announced).toMatchObject({
      step: 'announced',
      root: { purpose: 'index', version: 2, state: 'preActive', owner: null },
      previous: { version: 1 },
    });
    expect(first.events.at(-1)).toMatchObject({ type: 'keyAnnounced', purpose: 'index' });
    const [, next = ''] = tokensOf(first.keys);
    expect(tokensOf(first.keys)).toEqual([old, next]);
    // Within its cache a process may not know the root yet, so that nobody may use it.
    expect(tokensOf(second.keys)).toEqual([old]);
    fleet.now = announced.activatableAt.getTime() - 1;
    expect(await rotate()).toMatchObject({ step: 'waiting', root: { version: 2 } });
    second.clock.now += TTL_MS;
    await prepare(second, [], { index: true });
    await second.keys.confirm([], { index: true });
    expect(tokensOf(second.keys)).toEqual([old, next]);

    fleet.now += 1;
    expect(await rotate()).toMatchObject({
      step: 'activated',
      root: { version: 2, state: 'active', expiresAt: null },
      previous: { version: 1, state: 'deactivated' },
    });
    expect(tokensOf(first.keys)).toEqual([next, old]);
    expect(tokensOf(second.keys)).toEqual([old, next]);
    expect(tokensOf((await fleet.start()).keys)).toEqual([next, old]);
    expect(fleet.states).toEqual(['v1 deactivated', 'v2 active']);
  });

  it('waits at least for the maximum age, and writes nothing in a dry run', async () => {
    const fleet = new Fleet();
    const { operations } = (await fleet.start()).keys;
    await expect(operations.rotateIndex({ announceMs: MAX_AGE_MS - 1 })).rejects.toMatchObject({
      code: 'ERR_CONFIGURATION',
    });
    expect(await operations.rotateIndex({ dryRun: true })).toMatchObject({
      step: 'announced',
      root: null,
    });
    expect(fleet.states).toEqual(['v1 active']);
  });

  it('takes each step once, whoever takes it', async () => {
    const fleet = new Fleet();
    const processes = [await fleet.start(), await fleet.start()];
    const all = async () => {
      const steps = processes.map(({ keys }) =>
        keys.operations.rotateIndex({ announceMs: MAX_AGE_MS }),
      );
      return (await Promise.all(steps)).map(({ step }) => step).sort();
    };
    expect(await all()).toEqual(['announced', 'waiting']);
    fleet.now += MAX_AGE_MS + SETTLING_MS;
    expect(await all()).toEqual(['activated', 'activated']);
    expect(fleet.states).toEqual(['v1 deactivated', 'v2 active']);
  });

  it('does not rotate again before the replaced root is destroyed', async () => {
    const [fleet, { keys }] = await rotated();
    const old = fleet.store.rows[0]?.id ?? '';
    await expect(keys.operations.rotateIndex({})).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
      keyId: old,
    });
    fleet.now += MAX_AGE_MS + SETTLING_MS;
    await keys.operations.destroy(old, used(0), 0);
    expect(await keys.operations.rotateIndex({})).toMatchObject({ step: 'announced' });
  });

  it('uses no root at all when one of them cannot be had', async () => {
    const [fleet] = await rotated();
    const old = fleet.store.rows[0]?.id ?? '';
    fleet.store.edit(old, { wrapped: Buffer.from('damaged') });
    const late = startProcess({ store: fleet.store, kms: fleet.kms });
    await expect(prepare(late, [], { index: true })).rejects.toMatchObject({
      code: 'ERR_KEY_UNWRAP',
    });
    expect(() => late.keys.indexRoots()).toThrow();
  });

  it('makes no new root in the place of a lost one', async () => {
    const [fleet] = await rotated();
    fleet.store.remove(fleet.store.rows[1]?.id ?? '');
    const late = startProcess({ store: fleet.store, kms: fleet.kms });
    await expect(prepare(late, [], { index: true })).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
    });
    expect(fleet.states).toEqual(['v1 deactivated']);
  });
});

describe('destroying an index root', () => {
  it('is refused within the maximum age, and while tokens may be of it', async () => {
    const [fleet, { keys }] = await rotated();
    const old = fleet.store.rows[0]?.id ?? '';
    await expect(keys.operations.destroy(old, used(0), 0)).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
      retryable: true,
    });
    await expect(keys.operations.requireSettledIndex()).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
      retryable: true,
    });
    fleet.now += MAX_AGE_MS + SETTLING_MS;
    await keys.operations.requireSettledIndex();
    await expect(keys.operations.destroy(old, used(1), 0)).rejects.toThrow(/Reindex them first/);
    expect(tokensOf(keys)).toHaveLength(2);

    expect(await keys.operations.destroy(old, used(0), 0)).toMatchObject({
      key: { purpose: 'index', version: 1, state: 'destroyed' },
    });
    expect(tokensOf(keys)).toHaveLength(1);
    expect(fleet.states).toEqual(['v1 destroyed', 'v2 active']);
  });

  it('takes an announced root back', async () => {
    const fleet = new Fleet();
    const { keys } = await fleet.start();
    await keys.operations.rotateIndex({});
    await keys.operations.destroy(fleet.store.rows[1]?.id ?? '', used(0), 0);
    expect(tokensOf(keys)).toHaveLength(1);
    expect(await keys.operations.rotateIndex({})).toMatchObject({ root: { version: 3 } });
  });
});
