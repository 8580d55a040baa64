import { KeyStateError } from '../../../src/errors';
import type { KeyStore } from '../../../src/keys/store/key-store';
import type { Process } from '../../support/key-fixtures';
import {
  FakeKms,
  giveState,
  MAX_AGE_MS,
  prepare,
  sameKey,
  settle,
  startProcess,
  TTL_MS,
} from '../../support/key-fixtures';
import { MemoryKeyStore } from '../../support/memory-key-store';

const BOTH = { index: true };
const DATA_ONLY = { index: false };

function startMany(count: number): Process[] {
  const store = new MemoryKeyStore();
  const kms = new FakeKms();
  return Array.from({ length: count }, () => startProcess({ store, kms }));
}

describe('creating the first keys', () => {
  it('gives any number of processes that start at once the same keys', async () => {
    const processes = startMany(12);

    await Promise.all(processes.map((process) => prepare(process, ['default'], BOTH)));

    const [first] = processes;
    if (first === undefined) throw new Error('no process');
    expect(first.store.rows.map((row) => row.purpose).sort()).toEqual(['data', 'index']);
    const active = first.keys.activeKey('default');
    for (const { keys } of processes) {
      expect(sameKey(active, keys.activeKey('default'))).toBe(true);
      expect(keys.indexRoots()[0].id).toBe(first.keys.indexRoots()[0].id);
    }
    const created = processes.flatMap(({ events }) => events);
    expect(created.map((event) => event.type)).toEqual(['keyCreated', 'keyCreated']);
  });

  it('creates one key for callers of one process, whatever connections they hold', async () => {
    const { keys, store, kms } = startProcess();
    // Who holds a connection waits for nobody who may wait for that very one: hence two goes, and one key.
    const goes = 2;

    await Promise.all(
      Array.from({ length: 30 }, (_, index) =>
        prepare({ keys }, ['default'], DATA_ONLY, index % 3 === 0 ? undefined : String(index)),
      ),
    );

    expect(store.countOf('insertFirst')).toBeLessThanOrEqual(goes);
    expect(kms.wraps).toBeLessThanOrEqual(goes);
    expect(await store.list()).toMatchObject([{ id: keys.activeKey('default').id }]);
  });

  it('uses no key before its row is in the table', async () => {
    const { keys, store } = startProcess();
    const insertFirst = store.insertFirst.bind(store);
    let usableBefore: boolean | undefined;
    jest.spyOn(store, 'insertFirst').mockImplementation(async (record) => {
      usableBefore = (() => {
        try {
          keys.activeKey('default');
          return true;
        } catch {
          return false;
        }
      })();
      return insertFirst(record);
    });

    await keys.prepare(['default'], DATA_ONLY);

    expect(usableBefore).toBe(false);
    expect(keys.activeKey('default')).toBeDefined();
  });

  it('discards its key when the insert fails', async () => {
    const { keys, store } = startProcess();
    const failure = new Error('disk full');
    jest.spyOn(store, 'insertFirst').mockRejectedValueOnce(failure);

    await expect(keys.prepare(['default'], DATA_ONLY)).rejects.toBe(failure);
    expect(() => keys.activeKey('default')).toThrow(
      expect.objectContaining({ code: 'ERR_KMS_UNAVAILABLE', cause: failure }),
    );
    expect(store.rows).toEqual([]);
  });

  it('tells the store which connection the caller holds, and reads the winner without it', async () => {
    const { keys, store } = startProcess();
    const winner = startProcess({ store });
    const insertFirst = jest.spyOn<KeyStore, 'insertFirst'>(store, 'insertFirst');
    insertFirst.mockImplementationOnce(async () => {
      store.calls.length = 0;
      await winner.keys.prepare(['default'], DATA_ONLY);
      store.calls.length = 0;
      return false;
    });

    // The winner is of another KMS, so that it cannot be unwrapped here; who was asked is what counts.
    await expect(prepare({ keys }, ['default'], DATA_ONLY, 'in a transaction')).rejects.toThrow();

    expect(insertFirst.mock.calls[0]?.[1]).toBe('in a transaction');
    expect(store.calls).toEqual([{ method: 'findCurrent', connection: undefined }]);
  });

  it('takes a key that another process created since it looked', async () => {
    const [one, two] = startMany(2);
    if (one === undefined || two === undefined) throw new Error('no process');
    await one.keys.prepare(['default'], DATA_ONLY);
    jest.spyOn(two.store, 'findCurrent').mockResolvedValueOnce([]);

    await two.keys.prepare(['default'], DATA_ONLY);

    expect(two.keys.activeKey('default').id).toBe(one.keys.activeKey('default').id);
    expect(one.store.rows).toHaveLength(1);
  });

  it('puts nothing in the place of an active key that was taken out of use', async () => {
    const { keys, store, clock } = startProcess();
    await keys.prepare(['default'], DATA_ONLY);
    const id = store.rows[0]?.id ?? '';
    store.edit(id, { state: 'compromised' });

    clock.advance(MAX_AGE_MS);
    await expect(keys.prepare(['default'], DATA_ONLY)).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
      message: expect.stringContaining('none of its 1 versions is active') as unknown,
    });
    expect(store.rows).toHaveLength(1);
    expect(() => keys.activeKey('default')).toThrow(KeyStateError);

    expect(await keys.rotate('default')).toMatchObject({ version: 2, state: 'active' });
    expect(keys.activeKey('default').version).toBe(2);
  });

  it('makes no key under another KEK than the keys that are there', async () => {
    const { keys, store } = startProcess();
    await keys.prepare(['default'], DATA_ONLY);
    const misconfigured = startProcess({ store, kms: new FakeKms() });

    await expect(misconfigured.keys.prepare(['medical'], DATA_ONLY)).rejects.toMatchObject({
      code: 'ERR_KEY_UNWRAP',
    });
    await expect(misconfigured.keys.rotate('default')).rejects.toMatchObject({
      code: 'ERR_KEY_UNWRAP',
    });

    expect(store.rows).toHaveLength(1);
    expect(store.rows[0]?.state).toBe('active');
  });

  it('makes no key that does not unwrap again', async () => {
    const { keys, kms, store } = startProcess();
    kms.answer = (key) => key.map((byte) => byte ^ 1);
    await expect(keys.prepare(['default'], DATA_ONLY)).rejects.toMatchObject({
      code: 'ERR_KEY_UNWRAP',
    });
    expect(store.rows).toEqual([]);
  });
});

describe('KeyManager.rotate', () => {
  it('makes a new active version at once and reads the old one on', async () => {
    const { keys, store, events } = startProcess();
    await keys.prepare(['default'], DATA_ONLY);
    const old = keys.activeKey('default');

    const info = await keys.rotate('default');

    expect(info).toMatchObject({ name: 'default', version: 2, state: 'active' });
    expect(keys.activeKey('default')).toMatchObject({ id: info.id, version: 2 });
    expect(keys.keyByPrefix(old.prefix)).toBe(old);
    expect(store.rows.map((row) => row.state)).toEqual(['deactivated', 'active']);
    expect(sameKey(old, keys.activeKey('default'))).toBe(false);
    expect(events.at(-1)).toEqual({
      type: 'keyRotated',
      purpose: 'data',
      keyId: info.id,
      keyName: 'default',
      version: 2,
      previousKeyId: old.id,
    });
  });

  it('creates the first version of a name that has none', async () => {
    const { keys, store, events } = startProcess();
    expect(await keys.rotate('medical')).toMatchObject({ name: 'medical', version: 1 });
    expect(store.rows).toHaveLength(1);
    expect(events).toMatchObject([{ type: 'keyCreated', purpose: 'data', version: 1 }]);
    expect(keys.activeKey('medical').version).toBe(1);
  });

  it('has one winner among processes that rotate at once; the losers return its key', async () => {
    const processes = startMany(5);
    await Promise.all(processes.map((process) => prepare(process, ['default'], DATA_ONLY)));

    const infos = await Promise.all(processes.map(({ keys }) => keys.rotate('default')));

    expect(new Set(infos.map((info) => info.id)).size).toBe(1);
    expect(infos.every((info) => info.version === 2 && info.state === 'active')).toBe(true);
    const rows = processes[0]?.store.rows ?? [];
    expect(rows.map((row) => row.state)).toEqual(['deactivated', 'active']);
    for (const { keys } of processes) expect(keys.activeKey('default').version).toBe(2);
    const rotations = processes.flatMap(({ events }) => events).filter(isRotation);
    expect(rotations).toHaveLength(1);
  });

  it('gives both of two calls in one process the version that came about', async () => {
    const { keys, store } = startProcess();
    await keys.prepare(['default'], DATA_ONLY);
    const [one, two] = await Promise.all([keys.rotate('default'), keys.rotate('default')]);
    expect(one.id).toBe(two.id);
    expect(store.rows).toHaveLength(2);
  });

  it('counts on from the highest version, whichever was active', async () => {
    const { keys, store, kms } = startProcess();
    await keys.prepare(['default'], DATA_ONLY);
    await keys.rotate('default');
    await keys.rotate('default');
    const [, second, third] = store.rows;
    await giveState({ store, kms }, third?.id, 'deactivated');
    await giveState({ store, kms }, second?.id, 'active');

    expect(await startProcess({ store, kms: new FakeKms() }).keys.list()).toHaveLength(3);
    expect(await keys.rotate('default')).toMatchObject({ version: 4 });
  });

  it('leaves other names and the index root alone', async () => {
    const { keys, store } = startProcess();
    await keys.prepare(['default', 'medical'], BOTH);
    const root = keys.indexRoots()[0].id;
    await keys.rotate('default');
    await keys.prepare(['default', 'medical'], BOTH);
    expect(keys.activeKey('medical').version).toBe(1);
    expect(keys.indexRoots()[0].id).toBe(root);
    expect(store.rows).toHaveLength(4);
  });

  it('changes nothing when the KMS is down', async () => {
    const { keys, store, kms } = startProcess();
    await keys.prepare(['default'], DATA_ONLY);
    kms.outage = new Error('down');
    await expect(keys.rotate('default')).rejects.toMatchObject({ code: 'ERR_KMS_UNAVAILABLE' });
    expect(store.rows.map((row) => row.state)).toEqual(['active']);
    expect(keys.activeKey('default').version).toBe(1);
  });

  it('does not use the new key when the table could not be written', async () => {
    const { keys, store } = startProcess();
    await keys.prepare(['default'], DATA_ONLY);
    const failure = new Error('server closed the connection');
    jest.spyOn(store, 'apply').mockRejectedValueOnce(failure);
    await expect(keys.rotate('default')).rejects.toBe(failure);
    expect(keys.activeKey('default').version).toBe(1);
  });

  it('asks to try again when another process rotated and then deactivated the key', async () => {
    const { keys, store } = startProcess();
    await keys.prepare(['default'], DATA_ONLY);
    jest.spyOn(store, 'apply').mockImplementationOnce(() => {
      store.edit(store.rows[0]?.id ?? '', { state: 'suspended' });
      return Promise.resolve(false);
    });
    await expect(keys.rotate('default')).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
      retryable: true,
    });
  });

  it('is not undone by a refresh that had read the old version', async () => {
    const { keys, store, clock, events } = startProcess();
    await keys.prepare(['default'], DATA_ONLY);
    let answer: () => void = () => undefined;
    const answered = new Promise<void>((resolve) => (answer = resolve));
    const findCurrent = store.findCurrent.bind(store);
    jest.spyOn(store, 'findCurrent').mockImplementationOnce(async (purpose, names) => {
      const records = await findCurrent(purpose, names);
      await answered;
      return records;
    });

    clock.advance(TTL_MS);
    void keys.prepare(['default'], DATA_ONLY);
    await settle();
    clock.advance(1);
    await keys.rotate('default');
    answer();
    await settle();

    expect(keys.activeKey('default').version).toBe(2);
    expect(events.map((event) => event.type)).toEqual(['keyCreated', 'keyRotated']);
  });
});

describe('an active version that goes backwards', () => {
  it('is refused, as a table restored from a backup, while reading goes on', async () => {
    const { keys, store, clock } = startProcess();
    await keys.prepare(['default'], DATA_ONLY);
    const [first] = store.rows;
    await keys.rotate('default');
    const { prefix } = keys.activeKey('default');
    store.remove(store.rows[1]?.id ?? '');
    // A row of yesterday has the MACs of yesterday.
    if (first !== undefined) store.edit(first.id, first);

    clock.advance(MAX_AGE_MS);
    await expect(keys.prepare(['default'], DATA_ONLY)).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
      keyId: first?.id,
      message: expect.stringContaining('an older row was put back') as unknown,
    });
    expect(() => keys.activeKey('default')).toThrow(KeyStateError);
    await keys.load([prefix]);
    expect(() => keys.keyByPrefix(prefix)).toThrow(
      expect.objectContaining({ code: 'ERR_KEY_NOT_FOUND' }),
    );
  });

  it('is refused, too, when two versions are active', async () => {
    const { keys, store } = startProcess();
    await keys.prepare(['default'], DATA_ONLY);
    await keys.rotate('default');
    store.edit(store.rows[0]?.id ?? '', { state: 'active' });

    const other = startProcess({ store });
    await expect(other.keys.prepare(['default'], DATA_ONLY)).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
      message: expect.stringContaining('versions 1 and 2 are both active') as unknown,
    });
  });
});

function isRotation(event: { type: string }): boolean {
  return event.type === 'keyRotated';
}
