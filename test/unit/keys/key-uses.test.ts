import { FieldCipher } from '../../../src/field/field-cipher';
import type { FieldPolicy } from '../../../src/field/field-policy';
import type { KeyPolicies } from '../../../src/keys/policy/key-policy';
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

const POLICY: FieldPolicy = {
  entity: 'Patient',
  property: 'ssn',
  fieldId: 'Patient.ssn',
  keyName: 'default',
  type: 'string',
  coerce: false,
  storage: 'text',
  maxValueBytes: 100,
  boundTo: [],
  readsUnbound: false,
  isScoped: false,
  readsUnscoped: false,
  isSealed: false,
  columnLength: undefined,
};

function encrypt({ keys }: Process, values: number): void {
  const cipher = new FieldCipher(POLICY, 'clinic', keys);
  for (let at = 0; at < values; at += 1) cipher.encrypt(`value ${String(at)}`);
}

async function startReady(parts: Parameters<typeof startProcess>[0] = {}): Promise<Process> {
  const process = startProcess(parts);
  await prepare(process, ['default'], { index: false });
  return process;
}

const tableCounts = ({ store }: Process): number[] => store.rows.map(({ useCount }) => useCount);
const listCounts = async ({ keys }: Process): Promise<number[]> =>
  (await keys.list()).map(({ useCount }) => useCount);

describe('the use count of a key', () => {
  it('counts what was encrypted, not what was read or refused, and is listed at once', async () => {
    const process = await startReady();
    const cipher = new FieldCipher(POLICY, 'clinic', process.keys);
    const stored = cipher.encrypt('a');
    cipher.decrypt(stored);
    expect(() => cipher.encrypt('x'.repeat(101))).toThrow('limit');
    cipher.sealRaw(cipher.openRaw(stored));

    expect(await listCounts(process)).toEqual([2]);
    expect(tableCounts(process)).toEqual([0]);
  });

  it('is added up in the table by all processes when they refresh, and when they end', async () => {
    const store = new MemoryKeyStore();
    const kms = new FakeKms();
    const one = await startReady({ store, kms });
    const two = await startReady({ store, kms });
    encrypt(one, 3);
    encrypt(two, 4);

    one.clock.advance(TTL_MS);
    expect(one.keys.prepare(['default'], { index: false })).toBeUndefined();
    await settle();
    expect(tableCounts(one)).toEqual([3]);
    // The key was unwrapped again; it is counted on all the same.
    encrypt(one, 10);
    await Promise.all([one.keys.addUsesAtEnd(), two.keys.addUsesAtEnd()]);
    expect(tableCounts(one)).toEqual([17]);
    await one.keys.addUsesAtEnd();
    expect(tableCounts(one)).toEqual([17]);
  });

  it('is kept for the next time while the table is away, and stops nothing', async () => {
    const process = await startReady();
    encrypt(process, 5);
    process.store.outage = new Error('down');
    await process.keys.addUsesAtEnd();
    encrypt(process, 1);
    process.store.outage = undefined;
    const adding = process.keys.addUsesAtEnd();
    encrypt(process, 1);
    await adding;

    expect(tableCounts(process)).toEqual([6]);
    expect(await listCounts(process)).toEqual([7]);
  });

  it('does not keep a process from ending whose table does not answer', async () => {
    jest.useFakeTimers({ doNotFake: ['setImmediate'] });
    try {
      const store = new MemoryKeyStore();
      store.addUses = () => new Promise(() => undefined);
      const process = await startReady({ store });
      encrypt(process, 1);
      const ended = process.keys.addUsesAtEnd();
      await jest.advanceTimersByTimeAsync(10_000);
      await expect(ended).resolves.toBeUndefined();
    } finally {
      jest.useRealTimers();
    }
  });

  it('has a key rotated that was used up, by the count of all processes', async () => {
    const policies: KeyPolicies = { '*': { rotation: { kind: 'useCount', maxUses: 10 } } };
    let now = new Date('2026-01-01T00:00:00Z').getTime();
    const store = new MemoryKeyStore();
    store.time = () => now;
    const parts = { policies, store };
    const process = await startReady(parts);
    const other = await startReady({ ...parts, kms: process.kms });
    const maintain = (dryRun = false) => process.keys.operations.maintain({ dryRun }, NO_ROWS);
    encrypt(other, 4);
    encrypt(process, 9);
    expect(await maintain()).toMatchObject({ announced: [] });
    await other.keys.addUsesAtEnd();

    expect(await maintain(true)).toMatchObject({ announced: [{ version: 1, useCount: 13 }] });
    expect(await maintain()).toMatchObject({ announced: [{ version: 2, useCount: 0 }] });
    now += 2 * TTL_MS;
    expect(await maintain()).toMatchObject({ activated: [{ version: 2 }] });
    expect(tableCounts(process)).toEqual([13, 0]);
    expect(await maintain()).toMatchObject({ announced: [], activated: [] });
  });
});
