import { ConfigurationError, KmsUnavailableError } from '../../../src/errors';
import { keyPrefix } from '../../../src/format/data-key-id';
import { KeyManager } from '../../../src/keys/key-manager';
import type { KeyManagerOptions } from '../../../src/keys/key-services';
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

/** Another process over the same table and KMS. */
function sibling({ store, kms }: Process): Process {
  return startProcess({ store, kms });
}

/** Rotates in this process and returns the prefixes of all versions, oldest first. */
async function versions(process: Process, count: number): Promise<string[]> {
  await process.keys.prepare(['default'], DATA_ONLY);
  for (let version = 2; version <= count; version += 1) await process.keys.rotate('default');
  return (await process.keys.list()).map((info) => keyPrefix(info.id));
}

describe('KeyManager.prepare', () => {
  it('creates the first data key and the index root, and makes them usable', async () => {
    const { keys, store, events } = startProcess();

    await keys.prepare(['default'], BOTH);

    const active = keys.activeKey('default');
    expect(active).toMatchObject({ name: 'default', version: 1, suite: 'xaes-256-gcm' });
    expect(active.prefix).toBe(keyPrefix(active.id));
    expect(keys.keyByPrefix(active.prefix)).toBe(active);
    expect(store.rows.map(({ purpose, suite, state }) => [purpose, suite, state])).toEqual([
      ['data', 'xaes-256-gcm', 'active'],
      ['index', 'hmac-sha-256', 'active'],
    ]);
    expect(events.map((event) => event.type)).toEqual(['keyCreated', 'keyCreated']);
  });

  it('creates keys of the suite that is asked for, each with its own nonce length', async () => {
    for (const suite of ['xchacha20-poly1305', 'aes-256-gcm-siv'] as const) {
      const { keys } = startProcess({ suite });
      await keys.prepare(['default'], DATA_ONLY);
      expect(keys.activeKey('default').aead.suite).toBe(suite);
    }
  });

  it('creates no index root and no other key than those asked for', async () => {
    const { keys, store } = startProcess();
    await keys.prepare(['medical', 'medical'], DATA_ONLY);
    expect(store.rows.map((row) => row.name)).toEqual(['medical']);
    expect(() => keys.indexRoots()[0]).toThrow(ConfigurationError);
  });

  it('gives two processes the same keys', async () => {
    const one = startProcess();
    const two = sibling(one);
    await one.keys.prepare(['default'], BOTH);
    await two.keys.prepare(['default'], BOTH);

    expect(sameKey(one.keys.activeKey('default'), two.keys.activeKey('default'))).toBe(true);
    const info = Buffer.from('info');
    const derived = [one, two].map(({ keys }) =>
      keys.indexRoots()[0].deriveIndexKey(info).export(),
    );
    expect(derived[0]).toEqual(derived[1]);
    expect(two.events).toEqual([]);
  });

  it('derives different index keys for different info, none of them the root', async () => {
    const { keys, kms } = startProcess();
    await keys.prepare([], BOTH);
    const derived = ['a', 'b'].map((info) =>
      keys.indexRoots()[0].deriveIndexKey(Buffer.from(info)).export().toString('hex'),
    );
    expect(new Set([...derived, ...kms.keyBytes.map((key) => key.toString('hex'))]).size).toBe(3);
  });

  it('does nothing at all while the keys are fresh', async () => {
    const { keys, store, kms, clock } = startProcess();
    await keys.prepare(['default'], BOTH);
    const calls = store.calls.length;
    const unwraps = kms.unwraps;

    clock.advance(TTL_MS - 1);
    expect(keys.prepare(['default'], BOTH)).toBeUndefined();
    await settle();

    expect(store.calls).toHaveLength(calls);
    expect(kms.unwraps).toBe(unwraps);
  });

  it('refreshes once in the background when the keys are due, and lets nobody wait', async () => {
    const process = startProcess();
    const { keys, store, kms, clock } = process;
    await keys.prepare(['default'], BOTH);
    const reads = store.countOf('findCurrent');
    const unwraps = kms.unwraps;

    clock.advance(TTL_MS);
    for (let call = 0; call < 50; call += 1) {
      expect(keys.prepare(['default'], BOTH)).toBeUndefined();
    }
    await settle();

    expect(store.countOf('findCurrent')).toBe(reads + 2);
    expect(kms.unwraps).toBe(unwraps + 2);
    clock.advance(TTL_MS - 1);
    expect(keys.prepare(['default'], BOTH)).toBeUndefined();
    await settle();
    expect(kms.unwraps).toBe(unwraps + 2);
  });

  it('takes a rotation by another process over at the refresh, and reads the old key on', async () => {
    const one = startProcess();
    const two = sibling(one);
    await one.keys.prepare(['default'], DATA_ONLY);
    await two.keys.prepare(['default'], DATA_ONLY);
    const old = two.keys.activeKey('default');
    const rotated = await one.keys.rotate('default');
    expect(two.keys.activeKey('default').id).toBe(old.id);

    two.clock.advance(TTL_MS);
    void two.keys.prepare(['default'], DATA_ONLY);
    await settle();

    expect(two.keys.activeKey('default').id).toBe(rotated.id);
    expect(two.keys.keyByPrefix(old.prefix).id).toBe(old.id);
  });

  it('serves every waiting caller from one read and one unwrap', async () => {
    const first = startProcess();
    await first.keys.prepare(['default'], BOTH);
    const { keys, store, kms } = sibling(first);
    const reads = store.countOf('findCurrent');
    const unwraps = kms.unwraps;

    await Promise.all(Array.from({ length: 100 }, () => prepare({ keys }, ['default'], BOTH)));

    expect(store.countOf('findCurrent')).toBe(reads + 2);
    expect(kms.unwraps).toBe(unwraps + 2);
  });

  it('reads through the connection of each caller, and still unwraps once', async () => {
    const first = startProcess();
    await first.keys.prepare(['default'], DATA_ONLY);
    const { keys, store, kms } = sibling(first);
    store.calls.length = 0;
    const unwraps = kms.unwraps;

    await Promise.all([
      prepare({ keys }, ['default'], DATA_ONLY, 'connection 1'),
      prepare({ keys }, ['default'], DATA_ONLY, 'connection 2'),
    ]);

    expect(store.calls.every(({ connection }) => connection !== undefined)).toBe(true);
    expect(new Set(store.calls.map(({ connection }) => connection)).size).toBe(2);
    expect(kms.unwraps).toBe(unwraps + 1);
  });

  it('does not keep a caller with a connection waiting for a read that waits for one', async () => {
    const first = startProcess();
    await first.keys.prepare(['default'], DATA_ONLY);
    const { keys, store } = sibling(first);
    const findCurrent = store.findCurrent.bind(store);
    const never = new Promise<never>(() => undefined);
    jest
      .spyOn(store, 'findCurrent')
      .mockImplementation((purpose, names, connection) =>
        connection === undefined ? never : findCurrent(purpose, names, connection),
      );

    void keys.prepare(['default'], DATA_ONLY);
    await keys.prepare(['default'], DATA_ONLY, 'the only connection');

    expect(keys.activeKey('default').version).toBe(1);
  });

  it('looks for every name although one of them fails', async () => {
    const process = startProcess();
    await process.keys.prepare(['bad', 'good'], BOTH);
    const bad = process.store.rows.find((row) => row.name === 'bad');
    if (bad === undefined) throw new Error('no key');
    process.store.edit(bad.id, { wrapped: Buffer.alloc(136) });

    const { keys } = sibling(process);
    await expect(keys.prepare(['bad', 'good'], BOTH)).rejects.toMatchObject({
      code: 'ERR_KEY_UNWRAP',
      keyId: bad.id,
    });

    expect(keys.activeKey('good').name).toBe('good');
    expect(keys.indexRoots()[0]).toBeDefined();
    expect(() => keys.activeKey('bad')).toThrow(
      expect.objectContaining({ code: 'ERR_KEY_UNWRAP' }),
    );
  });

  it('never unwraps any but the active key, however many versions there are', async () => {
    const first = startProcess();
    await first.keys.prepare(['default'], BOTH);
    const [row] = first.store.rows;
    if (row === undefined) throw new Error('no key');
    for (let index = 0; index < 10_000; index += 1) {
      const id = (index + 1).toString(16).padStart(16, '0');
      first.store.insertRow({ ...row, id, version: -index, state: 'deactivated' });
    }

    const { keys, kms, store } = sibling(first);
    const unwraps = kms.unwraps;
    store.calls.length = 0;
    await keys.prepare(['default'], BOTH);

    expect(kms.unwraps).toBe(unwraps + 2);
    expect(store.calls.map((call) => call.method)).toEqual([
      'exists',
      'findCurrent',
      'findCurrent',
    ]);
  });
});

describe('KeyManager without a key table', () => {
  it('prepares without an error and says at the first use what to run', async () => {
    const store = new MemoryKeyStore();
    store.hasTable = false;
    const { keys, kms } = startProcess({ store });

    await keys.prepare(['default'], BOTH);

    for (const use of [() => keys.activeKey('default'), () => keys.indexRoots()[0]]) {
      expect(use).toThrow(ConfigurationError);
      expect(use).toThrow(/fieldEncryptionMigrations.*field-encryption init/);
    }
    expect(kms.wraps).toBe(0);
  });

  it('works as soon as the table was created', async () => {
    const store = new MemoryKeyStore();
    store.hasTable = false;
    const { keys } = startProcess({ store });
    await keys.prepare(['default'], BOTH);

    store.hasTable = true;
    await keys.prepare(['default'], BOTH);

    expect(keys.activeKey('default').version).toBe(1);
    expect(keys.indexRoots()[0]).toBeDefined();
  });

  it('says of a ciphertext that the table is missing, and reads it once the table is there', async () => {
    const first = startProcess();
    await first.keys.prepare(['default'], DATA_ONLY);
    const { prefix } = first.keys.activeKey('default');
    const { keys, store, clock } = sibling(first);
    store.hasTable = false;

    await keys.load([prefix]);
    expect(() => keys.keyByPrefix(prefix)).toThrow(ConfigurationError);

    store.hasTable = true;
    clock.advance(1000);
    await keys.load(keys.missing([prefix]));
    expect(keys.keyByPrefix(prefix).prefix).toBe(prefix);
  });

  it('refuses to rotate and to list', async () => {
    const store = new MemoryKeyStore();
    store.hasTable = false;
    const { keys } = startProcess({ store });
    await expect(keys.rotate('default')).rejects.toMatchObject({ code: 'ERR_CONFIGURATION' });
    await expect(keys.list()).rejects.toMatchObject({ code: 'ERR_CONFIGURATION' });
  });
});

describe('KeyManager while the KMS is down', () => {
  it('serves the keys in memory up to their maximum age and not a millisecond longer', async () => {
    const { keys, kms, clock } = startProcess();
    await keys.prepare(['default'], BOTH);
    const { prefix } = keys.activeKey('default');
    kms.outage = new Error('connect ECONNREFUSED');

    while (clock.now < MAX_AGE_MS - 100) {
      clock.advance(100);
      if (clock.now < MAX_AGE_MS) expect(keys.prepare(['default'], BOTH)).toBeUndefined();
      await settle();
      expect(keys.activeKey('default').prefix).toBe(prefix);
      expect(keys.keyByPrefix(prefix)).toBeDefined();
      expect(keys.indexRoots()[0]).toBeDefined();
    }

    clock.advance(100);
    const uses = [
      () => keys.activeKey('default'),
      () => keys.keyByPrefix(prefix),
      () => keys.indexRoots()[0],
    ];
    for (const use of uses) {
      expect(use).toThrow(KmsUnavailableError);
      expect(use).toThrow(expect.objectContaining({ retryable: true }));
    }
  });

  it('rejects with a retryable error that names the KMS and keeps the cause', async () => {
    const { keys, kms, clock, events } = startProcess();
    await keys.prepare(['default'], DATA_ONLY);
    clock.advance(MAX_AGE_MS);
    kms.outage = new Error('connect ECONNREFUSED');

    await expect(keys.prepare(['default'], DATA_ONLY)).rejects.toMatchObject({
      code: 'ERR_KMS_UNAVAILABLE',
      retryable: true,
      cause: kms.outage,
      message: expect.stringContaining('kms "fake"') as unknown,
    });
    expect(events.at(-1)).toMatchObject({
      type: 'keyLoadFailed',
      keyName: 'default',
      code: 'ERR_KMS_UNAVAILABLE',
    });
  });

  it('passes an error of its own kind on as the provider threw it', async () => {
    const { keys, kms } = startProcess();
    kms.outage = new ConfigurationError('the token has no such key');
    await expect(keys.prepare(['default'], DATA_ONLY)).rejects.toBe(kms.outage);
  });

  it('remembers a failure for a second, in which nobody asks again', async () => {
    const { keys, kms, clock } = startProcess();
    await keys.prepare(['default'], BOTH);
    const { prefix } = keys.activeKey('default');
    clock.advance(MAX_AGE_MS);
    kms.outage = new Error('down');
    await expect(keys.prepare(['default'], BOTH)).rejects.toThrow(KmsUnavailableError);
    await keys.load([prefix]);
    const { unwraps } = kms;

    clock.advance(999);
    await expect(keys.prepare(['default'], BOTH)).rejects.toThrow(KmsUnavailableError);
    await keys.load([prefix]);
    expect(kms.unwraps).toBe(unwraps);

    kms.outage = undefined;
    clock.advance(1);
    await keys.prepare(['default'], BOTH);
    await keys.load([prefix]);
    expect(keys.keyByPrefix(prefix)).toBe(keys.activeKey('default'));
  });

  it('works again as soon as the KMS is back, for who insists', async () => {
    const { keys, kms, clock } = startProcess();
    await keys.prepare(['default'], BOTH);
    const { prefix } = keys.activeKey('default');
    clock.advance(MAX_AGE_MS);
    kms.outage = new Error('down');
    await expect(keys.prepare(['default'], BOTH)).rejects.toThrow(KmsUnavailableError);
    await keys.load([prefix]);
    expect(() => keys.keyByPrefix(prefix)).toThrow(KmsUnavailableError);

    kms.outage = undefined;
    await keys.prepare(['default'], { ...BOTH, insists: true });
    expect(keys.missing([prefix])).toEqual([]);

    expect(keys.activeKey('default').prefix).toBe(prefix);
    expect(keys.keyByPrefix(prefix)).toBeDefined();
  });

  it('does not try again for every write, but once a second', async () => {
    const { keys, kms, clock } = startProcess();
    await keys.prepare(['default'], DATA_ONLY);
    kms.outage = new Error('down');
    clock.advance(TTL_MS);
    const unwraps = kms.unwraps;

    for (let write = 0; write < 10; write += 1) {
      void keys.prepare(['default'], DATA_ONLY);
      await settle();
      clock.advance(99);
    }
    expect(kms.unwraps).toBe(unwraps + 1);

    clock.advance(10);
    void keys.prepare(['default'], DATA_ONLY);
    await settle();
    expect(kms.unwraps).toBe(unwraps + 2);
  });

  it('creates no key when there is none', async () => {
    const { keys, kms, store } = startProcess();
    kms.outage = new Error('down');
    await expect(keys.prepare(['default'], BOTH)).rejects.toThrow(KmsUnavailableError);
    expect(store.rows).toEqual([]);

    kms.outage = undefined;
    await keys.prepare(['default'], { ...BOTH, insists: true });
    expect(store.rows).toHaveLength(2);
  });

  it('surfaces what the database threw, and says afterwards that the key could not be loaded', async () => {
    const { keys, store } = startProcess();
    const outage = new Error('Connection terminated');
    store.outage = outage;

    await expect(keys.prepare(['default'], DATA_ONLY)).rejects.toBe(outage);
    await expect(keys.load([keyPrefix('00'.repeat(8))])).rejects.toBe(outage);

    store.outage = undefined;
    await keys.prepare(['default'], DATA_ONLY);
    store.outage = outage;
    await expect(startProcess({ store }).keys.prepare(['x'], DATA_ONLY)).rejects.toBe(outage);
  });
});

describe('KeyManager.load', () => {
  it('fetches all missing keys with one call to the store', async () => {
    const first = startProcess();
    const prefixes = await versions(first, 5);
    const { keys, store, kms } = sibling(first);
    store.calls.length = 0;
    const unwraps = kms.unwraps;

    expect(keys.missing([...prefixes, ...prefixes])).toEqual(prefixes);
    await keys.load(prefixes, 'connection 1');

    expect(store.calls).toEqual([
      { method: 'exists', connection: 'connection 1' },
      { method: 'findByIds', connection: 'connection 1' },
    ]);
    expect(kms.unwraps).toBe(unwraps + 5);
    expect(keys.missing(prefixes)).toEqual([]);
    expect(prefixes.map((prefix) => keys.keyByPrefix(prefix).version)).toEqual([1, 2, 3, 4, 5]);
    await keys.load(prefixes);
    expect(store.calls).toHaveLength(2);
  });

  it('unwraps a key once for callers that want it at the same time', async () => {
    const first = startProcess();
    const prefixes = await versions(first, 3);
    const { keys, kms } = sibling(first);
    const unwraps = kms.unwraps;

    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        keys.load(index % 2 === 0 ? prefixes : prefixes.slice(1), `connection ${String(index)}`),
      ),
    );

    expect(kms.unwraps).toBe(unwraps + 3);
  });

  it('remembers for a second that a key is unknown, and finds it after that', async () => {
    const first = startProcess();
    const [prefix] = await versions(first, 1);
    if (prefix === undefined) throw new Error('no key');
    const [row] = first.store.rows;
    if (row === undefined) throw new Error('no row');
    first.store.remove(row.id);
    const { keys, store, clock } = sibling(first);

    await keys.load([prefix]);
    const lookups = store.countOf('findByIds');
    expect(() => keys.keyByPrefix(prefix)).toThrow(
      expect.objectContaining({ code: 'ERR_KEY_NOT_FOUND', keyId: row.id, retryable: false }),
    );
    clock.advance(999);
    expect(keys.missing([prefix])).toEqual([]);
    await keys.load([prefix]);
    expect(store.countOf('findByIds')).toBe(lookups);

    store.insertRow(row);
    clock.advance(1);
    expect(keys.missing([prefix])).toEqual([prefix]);
    await keys.load([prefix]);
    expect(keys.keyByPrefix(prefix).id).toBe(row.id);
  });

  it('refuses a prefix that is no key id', async () => {
    const { keys } = startProcess();
    await keys.load(['not a prefix']);
    expect(() => keys.keyByPrefix('not a prefix')).toThrow(
      expect.objectContaining({ code: 'ERR_KEY_NOT_FOUND', keyId: undefined }),
    );
  });

  it('refuses the index root as the key of a ciphertext', async () => {
    const { keys, store } = startProcess();
    await keys.prepare([], BOTH);
    const prefix = keyPrefix(store.rows[0]?.id ?? '');
    await keys.load([prefix]);
    expect(() => keys.keyByPrefix(prefix)).toThrow(
      expect.objectContaining({ code: 'ERR_KEY_NOT_FOUND' }),
    );
  });

  it('says of a key nobody has loaded that it is not in memory', () => {
    const { keys } = startProcess();
    expect(() => keys.keyByPrefix(keyPrefix('00'.repeat(8)))).toThrow(
      expect.objectContaining({ code: 'ERR_KMS_UNAVAILABLE', keyId: '00'.repeat(8) }),
    );
    expect(() => keys.activeKey('default')).toThrow(ConfigurationError);
  });

  it.each([
    ['active', true],
    ['suspended', true],
    ['deactivated', true],
    ['compromised', true],
    ['preActive', true],
    ['destroyed', false],
  ] as const)('reads with a key that is %s: %s', async (state, readable) => {
    const first = startProcess();
    const [prefix] = await versions(first, 2);
    if (prefix === undefined) throw new Error('no key');
    const id = first.store.rows[0]?.id ?? '';
    await giveState(first, id, state);
    const { keys, kms } = sibling(first);
    const unwraps = kms.unwraps;

    await keys.load([prefix]);

    if (readable) {
      expect(keys.keyByPrefix(prefix).id).toBe(id);
      return;
    }
    expect(kms.unwraps).toBe(unwraps);
    expect(() => keys.keyByPrefix(prefix)).toThrow(
      expect.objectContaining({
        code: 'ERR_KEY_STATE',
        keyId: id,
        message: expect.stringContaining(`version 1) is ${state}`) as unknown,
      }),
    );
  });

  it('stops reading with a key at the refresh after it was destroyed or deleted', async () => {
    const process = startProcess();
    const [first, second, third] = await versions(process, 3);
    if (!first || !second || !third) throw new Error('no keys');
    const { keys, store, clock } = process;
    store.edit(store.rows[0]?.id ?? '', { state: 'destroyed' });
    store.remove(store.rows[1]?.id ?? '');

    clock.advance(TTL_MS);
    expect(keys.missing([first, second, third])).toEqual([]);
    await settle();

    expect(() => keys.keyByPrefix(first)).toThrow(
      expect.objectContaining({ code: 'ERR_KEY_STATE' }),
    );
    expect(() => keys.keyByPrefix(second)).toThrow(
      expect.objectContaining({ code: 'ERR_KEY_NOT_FOUND' }),
    );
    expect(keys.keyByPrefix(third)).toBeDefined();
  });

  it('refreshes keys that are due in the background, all with one call', async () => {
    const process = startProcess();
    const prefixes = await versions(process, 4);
    const { keys, store, kms, clock } = process;
    const unwraps = kms.unwraps;

    clock.advance(TTL_MS);
    for (let query = 0; query < 10; query += 1) expect(keys.missing(prefixes)).toEqual([]);
    await settle();

    expect(store.countOf('findByIds')).toBe(1);
    expect(kms.unwraps).toBe(unwraps + 4);
    clock.advance(MAX_AGE_MS - 1);
    expect(prefixes.map((prefix) => keys.keyByPrefix(prefix))).toHaveLength(4);
  });

  it('refuses every key that has reached its maximum age, and loads it again', async () => {
    const process = startProcess();
    const [prefix] = await versions(process, 2);
    if (prefix === undefined) throw new Error('no key');
    const { keys, clock } = process;

    clock.advance(MAX_AGE_MS);
    expect(() => keys.keyByPrefix(prefix)).toThrow(KmsUnavailableError);
    expect(keys.missing([prefix])).toEqual([prefix]);

    await keys.load([prefix]);
    expect(keys.keyByPrefix(prefix).prefix).toBe(prefix);
  });
});

describe('KeyManager.close', () => {
  it('forgets every key and closes the KMS', async () => {
    const { keys, kms } = startProcess();
    await keys.prepare(['default'], BOTH);
    const { prefix } = keys.activeKey('default');

    await keys.close();

    expect(() => keys.activeKey('default')).toThrow(ConfigurationError);
    expect(() => keys.indexRoots()[0]).toThrow(ConfigurationError);
    expect(() => keys.keyByPrefix(prefix)).toThrow(KmsUnavailableError);
    expect(kms.closes).toBe(1);
  });

  it('does not take over what was still loading', async () => {
    const first = startProcess();
    const [prefix] = await versions(first, 1);
    if (prefix === undefined) throw new Error('no key');
    const { keys, kms, events } = sibling(first);
    let open: () => void = () => undefined;
    kms.gate = new Promise((resolve) => {
      open = resolve;
    });

    const preparing = keys.prepare(['default'], DATA_ONLY);
    const loading = keys.load([prefix]);
    await settle();
    await keys.close();
    open();

    await expect(preparing).rejects.toMatchObject({ code: 'ERR_CONFIGURATION' });
    await loading;
    expect(() => keys.activeKey('default')).toThrow(ConfigurationError);
    expect(() => keys.keyByPrefix(prefix)).toThrow(KmsUnavailableError);
    expect(events).toEqual([]);
  });

  it('does not take over what the table answers afterwards', async () => {
    const first = startProcess();
    const [prefix] = await versions(first, 1);
    if (prefix === undefined) throw new Error('no key');
    const { keys, kms } = sibling(first);
    const unwraps = kms.unwraps;

    const preparing = prepare({ keys }, ['default'], BOTH);
    const loading = keys.load([prefix]);
    await keys.close();

    await expect(preparing).rejects.toMatchObject({ code: 'ERR_CONFIGURATION' });
    await loading;
    expect(() => keys.activeKey('default')).toThrow(ConfigurationError);
    expect(() => keys.indexRoots()[0]).toThrow(ConfigurationError);
    expect(() => keys.keyByPrefix(prefix)).toThrow(KmsUnavailableError);
    expect(kms.unwraps).toBe(unwraps);
  });

  it('begins anew when it is prepared again', async () => {
    const { keys } = startProcess();
    await keys.prepare(['default'], DATA_ONLY);
    const { id } = keys.activeKey('default');
    await keys.close();
    await keys.prepare(['default'], DATA_ONLY);
    expect(keys.activeKey('default').id).toBe(id);
  });

  it('closes a provider that has nothing to close', async () => {
    const kms = new FakeKms();
    const { name, wrapKey, unwrapKey, health } = kms;
    const keys = new KeyManager({
      store: new MemoryKeyStore(),
      kms: {
        name,
        wrapKey: wrapKey.bind(kms),
        unwrapKey: unwrapKey.bind(kms),
        health: health.bind(kms),
      },
      application: 'clinic',
      suite: 'xaes-256-gcm',
    });
    await expect(keys.close()).resolves.toBeUndefined();
  });
});

describe('KeyManager', () => {
  it.each([
    [{ ttlMs: 0 }],
    [{ ttlMs: -1 }],
    [{ ttlMs: Number.NaN }],
    [{ maxAgeMs: Number.NaN }],
    [{ maxAgeMs: Infinity }],
    [{ ttlMs: 1001, maxAgeMs: 1000 }],
    [{ maxAgeMs: 1000 }],
  ])('refuses the cache limits %j', (cache) => {
    expect(() => startProcess({ cache })).toThrow(ConfigurationError);
  });

  it.each([[undefined], [{}], [{ ttlMs: 2_000_000 }], [{ ttlMs: 5, maxAgeMs: 5 }]])(
    'accepts the cache limits %j',
    (cache) => {
      expect(() => startProcess(cache === undefined ? {} : { cache })).not.toThrow();
    },
  );

  it('goes on when the listener of events throws', async () => {
    const onEvent: KeyManagerOptions<string>['onEvent'] = () => {
      throw new Error('listener');
    };
    const keys = new KeyManager<string>({
      store: new MemoryKeyStore(),
      kms: new FakeKms(),
      application: 'clinic',
      suite: 'xaes-256-gcm',
      onEvent,
    });
    await keys.prepare(['default'], DATA_ONLY);
    await expect(keys.rotate('default')).resolves.toMatchObject({ version: 2 });
  });
});
