import { createHash } from 'node:crypto';

import { FakeKms, rowsCounted, startProcess } from '../../support/key-fixtures';
import type { Process } from '../../support/key-fixtures';
import { MemoryKeyStore } from '../../support/memory-key-store';

const USE = {
  entity: 'Patient',
  property: 'ssn',
  table: 'patient',
  column: 'ssn',
  rows: 3,
  rowsUnderUnknownKeys: 0,
};
const unneeded = rowsCounted(() => Promise.resolve([{ ...USE, rowsUnderKey: 0 }]));
const needed = rowsCounted(() => Promise.resolve([{ ...USE, rowsUnderKey: 2 }]));

async function withTwoVersions(parts: Parameters<typeof startProcess>[0] = {}): Promise<Process> {
  const process = startProcess(parts);
  await process.keys.prepare(['default'], { index: true });
  await process.keys.rotate('default');
  return process;
}

function idOf({ store }: Process, version: number): string {
  const row = store.rows.find((key) => key.purpose === 'data' && key.version === version);
  return row?.id ?? '';
}

describe('revoking a key', () => {
  it('replaces an active key in the same step, so that there is always one to write with', async () => {
    const process = await withTwoVersions();
    const id = idOf(process, 2);
    const { key, replacement } = await process.keys.operations.revoke(id);

    expect(key).toMatchObject({ id, state: 'compromised', compromisedAt: expect.any(Date) });
    expect(replacement).toMatchObject({ version: 3, state: 'active' });
    expect(process.keys.activeKey('default').id).toBe(replacement?.id);
    // The revocation is proven by itself, after it is done.
    expect(process.store.countOf('apply')).toBe(3);
    expect(process.events.map(({ type }) => type).slice(-2)).toEqual(['keyRotated', 'keyRevoked']);
  });

  it('reads on with the revoked key, in this process and in others', async () => {
    const process = await withTwoVersions();
    const { prefix, id } = process.keys.activeKey('default');
    await process.keys.operations.revoke(id);
    const other = startProcess({ store: process.store, kms: process.kms });
    await other.keys.load([prefix]);
    expect(process.keys.keyByPrefix(prefix).id).toBe(id);
    expect(other.keys.keyByPrefix(prefix).id).toBe(id);
  });

  it('only marks a key that was not active, and changes nothing the second time', async () => {
    const process = await withTwoVersions();
    const id = idOf(process, 1);
    expect(await process.keys.operations.revoke(id)).toMatchObject({ replacement: null });
    const rows = process.store.rows;
    expect(await process.keys.operations.revoke(id)).toMatchObject({ replacement: null });
    expect(process.store.rows).toEqual(rows);
    expect(process.store.rows).toHaveLength(3);
  });

  it.each([
    ['revokes', (one: Process, id: string) => one.keys.operations.revoke(id)],
    ['destroys', (one: Process, id: string) => one.keys.operations.destroy(id, unneeded, 0)],
  ])(
    'writes no more with a key that it %s, though it has not seen it replaced',
    async (_, stop) => {
      const one = await withTwoVersions();
      const { id } = one.keys.activeKey('default');
      const other = startProcess({ store: one.store, kms: one.kms });
      await other.keys.rotate('default');
      expect(one.keys.activeKey('default').id).toBe(id);

      await stop(one, id);
      await one.keys.prepare(['default'], { index: true });
      expect(one.keys.activeKey('default').version).toBe(3);
    },
  );

  it('writes no more with a key that was revoked, though what follows fails', async () => {
    const process = await withTwoVersions();
    const { store, keys } = process;
    const id = idOf(process, 2);
    const find = store.findByIds.bind(store);
    jest
      .spyOn(store, 'findByIds')
      .mockImplementationOnce(find)
      .mockRejectedValueOnce(new Error('connection lost'));
    await expect(keys.operations.revoke(id, { replace: false })).rejects.toThrow('connection lost');
    expect(store.rows.find((row) => row.id === id)?.state).toBe('compromised');
    expect(() => keys.activeKey('default')).toThrow();
  });

  it('changes nothing when the KMS cannot make a replacement', async () => {
    const process = await withTwoVersions();
    process.kms.outage = new Error('down');
    await expect(process.keys.operations.revoke(idOf(process, 2))).rejects.toMatchObject({
      code: 'ERR_KMS_UNAVAILABLE',
    });
    expect(process.store.rows.map(({ state }) => state)).toEqual([
      'deactivated',
      'active',
      'active',
    ]);
  });

  it('makes one replacement when two processes revoke at once', async () => {
    const store = new MemoryKeyStore();
    const kms = new FakeKms();
    const one = await withTwoVersions({ store, kms });
    const two = startProcess({ store, kms });
    const id = idOf(one, 2);
    const outcomes = await Promise.all([
      one.keys.operations.revoke(id),
      two.keys.operations.revoke(id),
    ]);
    expect(outcomes.map(({ key }) => key.state)).toEqual(['compromised', 'compromised']);
    const active = store.rows.filter((row) => row.purpose === 'data' && row.state === 'active');
    expect(active.map(({ version }) => version)).toEqual([3]);
  });

  it('marks a key that another process rotates away meanwhile', async () => {
    const process = await withTwoVersions();
    const other = startProcess({ store: process.store, kms: process.kms });
    const id = idOf(process, 2);
    const apply = process.store.apply.bind(process.store);
    jest.spyOn(process.store, 'apply').mockImplementationOnce(async (changes) => {
      await other.keys.rotate('default');
      return apply(changes);
    });
    const { key } = await process.keys.operations.revoke(id);
    expect(key).toMatchObject({ id, state: 'compromised' });
    expect(process.store.rows.filter(({ state }) => state === 'active')).toHaveLength(2);
  });

  it('leaves the key alone that another process has put in its place meanwhile', async () => {
    const process = await withTwoVersions();
    const other = startProcess({ store: process.store, kms: process.kms });
    const id = idOf(process, 2);
    const { store } = process;
    const findByIds = store.findByIds.bind(store);
    jest.spyOn(store, 'findByIds').mockImplementationOnce(async (ids) => {
      const found = await findByIds(ids);
      await other.keys.rotate('default');
      return found;
    });

    await process.keys.operations.revoke(id);

    const data = store.rows.filter(({ purpose }) => purpose === 'data');
    expect(data.map(({ version, state }) => [version, state])).toEqual([
      [1, 'deactivated'],
      [2, 'compromised'],
      [3, 'active'],
    ]);
  });

  it('takes neither unknown keys nor the index root', async () => {
    const process = await withTwoVersions();
    await expect(process.keys.operations.revoke('ffffffffffffffff')).rejects.toMatchObject({
      code: 'ERR_KEY_NOT_FOUND',
    });
    const root = process.store.rows.find(({ purpose }) => purpose === 'index')?.id ?? '';
    await expect(process.keys.operations.revoke(root)).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
    });
  });
});

describe('destroying a key', () => {
  it('erases the wrapped key, leaves a tombstone, and proves what it did', async () => {
    const process = await withTwoVersions();
    const id = idOf(process, 1);
    const wrapped = process.store.rows[0]?.wrapped ?? new Uint8Array();

    const proof = await process.keys.operations.destroy(id, unneeded, 0);

    expect(proof).toEqual({
      key: expect.objectContaining({ id, state: 'destroyed', destroyedAt: expect.any(Date) }),
      previousState: 'deactivated',
      wrappedKeySha256: createHash('sha256').update(wrapped).digest('hex'),
      columns: [{ ...USE, rowsUnderKey: 0 }],
    });
    expect(process.store.rows[0]).toMatchObject({ id, state: 'destroyed', version: 1 });
    expect(process.store.rows[0]?.wrapped).toHaveLength(0);
    expect(process.events.at(-1)).toMatchObject({ type: 'keyDestroyed', keyId: id });
  });

  it('refuses to read with it from then on', async () => {
    const process = await withTwoVersions();
    await process.keys.operations.destroy(idOf(process, 1), unneeded, 0);
    const { prefixOf } = {
      prefixOf: (id: string) => Buffer.from(`01${id}`, 'hex').toString('base64url'),
    };
    const prefix = prefixOf(idOf(process, 1));
    await process.keys.load([prefix]);
    expect(() => process.keys.keyByPrefix(prefix)).toThrow(
      expect.objectContaining({ code: 'ERR_KEY_STATE' }),
    );
  });

  it('is refused while rows need the key, and changes nothing', async () => {
    const process = await withTwoVersions();
    const rows = process.store.rows;
    await expect(
      process.keys.operations.destroy(idOf(process, 1), needed, 0),
    ).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
      retryable: false,
      message: expect.stringContaining('2 of Patient.ssn'),
    });
    expect(process.store.rows).toEqual(rows);
  });

  it('is refused for the active key, without counting rows', async () => {
    const process = await withTwoVersions();
    const count = jest.fn(unneeded.count);
    await expect(
      process.keys.operations.destroy(idOf(process, 2), rowsCounted(count), 0),
    ).rejects.toMatchObject({ code: 'ERR_KEY_STATE', message: expect.stringContaining('Rotate') });
    expect(count).not.toHaveBeenCalled();
  });

  it('is refused within the grace period, in which a process may still write with the key', async () => {
    const process = await withTwoVersions();
    await expect(
      process.keys.operations.destroy(idOf(process, 1), unneeded, 60_000),
    ).rejects.toMatchObject({ code: 'ERR_KEY_STATE', retryable: true });
  });

  it('is refused while the KMS, which proves the row, is away, and changes nothing', async () => {
    const process = await withTwoVersions();
    const { rows } = process.store;
    process.kms.outage = new Error('down');
    await expect(
      process.keys.operations.destroy(idOf(process, 1), unneeded, 0),
    ).rejects.toMatchObject({ code: 'ERR_KMS_UNAVAILABLE', retryable: true });
    expect(process.store.rows).toEqual(rows);
  });

  it('happens once among processes that destroy the same key', async () => {
    const process = await withTwoVersions();
    const other = startProcess({ store: process.store, kms: process.kms });
    const id = idOf(process, 1);
    const outcomes = await Promise.allSettled(
      [process, other].map(({ keys }) => keys.operations.destroy(id, unneeded, 0)),
    );
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });
});
