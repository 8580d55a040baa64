import {
  FakeKms,
  fastLocalKms,
  MAX_AGE_MS,
  sameKey,
  startProcess,
  NO_ROWS,
} from '../../support/key-fixtures';
import type { Process } from '../../support/key-fixtures';

async function started(parts: Parameters<typeof startProcess>[0] = {}): Promise<Process> {
  const process = startProcess(parts);
  await process.keys.prepare(['default', 'medical'], { index: true });
  await process.keys.rotate('default');
  return process;
}

describe('rewrapping under another provider', () => {
  it('moves every key of every state and the index root, and the keys stay the same', async () => {
    const process = await started();
    const { store, keys } = process;
    const before = keys.activeKey('default');
    const root = keys.indexRoots()[0];
    const to = new FakeKms('hsm');

    const report = await keys.operations.rewrap({ to });

    expect(report).toEqual({
      kms: 'hsm',
      kek: 'fake-kek/1',
      scanned: 4,
      rewrapped: 4,
      current: 0,
      conflicts: 0,
      ofScopes: 0,
      failures: [],
    });
    expect(new Set(store.rows.map(({ kms }) => kms))).toEqual(new Set(['hsm']));
    const moved = startProcess({ store, kms: to });
    await moved.keys.prepare(['default'], { index: true });
    expect(sameKey(before, moved.keys.activeKey('default'))).toBe(true);
    const info = Buffer.from('info');
    expect(moved.keys.indexRoots()[0].deriveIndexKey(info).equals(root.deriveIndexKey(info))).toBe(
      true,
    );
  });

  it('lets the process go on, and wrap new keys under the new provider', async () => {
    const { store, keys, clock, kms } = await started();
    const to = new FakeKms('hsm');
    await keys.operations.rewrap({ to });
    kms.outage = new Error('the old provider is gone');
    clock.advance(MAX_AGE_MS);

    await keys.prepare(['default', 'medical'], { index: true });
    const { id } = await keys.rotate('default');

    expect(store.rows.find((row) => row.id === id)?.kms).toBe('hsm');
    await keys.close();
    expect([kms.closes, to.closes]).toEqual([1, 1]);
  });

  it('leaves other processes reading that have both providers, before, during and after', async () => {
    const { store, keys, kms } = await started();
    const to = new FakeKms('hsm');
    const old = startProcess({ store, kms, otherKms: [to] });
    const deployed = startProcess({ store, kms: to, otherKms: [kms] });
    for (const row of ['before', 'after']) {
      for (const process of [old, deployed]) {
        process.clock.advance(MAX_AGE_MS);
        await process.keys.prepare(['default', 'medical'], { index: true });
        expect([row, process.keys.activeKey('default').version]).toEqual([row, 2]);
      }
      await keys.operations.rewrap({ to });
    }
  });

  it('moves from one passphrase to another, although both are called local', async () => {
    const from = fastLocalKms('the passphrase of yesterday');
    const to = fastLocalKms('the passphrase of tomorrow');
    const process = await started({ kms: from as FakeKms });
    expect(await process.keys.operations.rewrap({ to })).toMatchObject({ rewrapped: 4 });

    const resumed = startProcess({
      store: process.store,
      kms: from as FakeKms,
    });
    const again = fastLocalKms('the passphrase of tomorrow');
    expect(await resumed.keys.operations.rewrap({ to: again })).toMatchObject({
      rewrapped: 0,
      current: 4,
    });
    const moved = startProcess({ store: process.store, kms: again as FakeKms });
    await moved.keys.prepare(['default'], { index: true });
    expect(moved.keys.activeKey('default').version).toBe(2);
  });

  it('replaces no wrapping before every key is proven under the new provider', async () => {
    const { store, keys } = await started();
    const to = new FakeKms('hsm');
    const wrap = to.wrapKey.bind(to);
    const moved: number[] = [];
    to.wrapKey = (key, binding) => {
      moved.push(store.rows.filter(({ kms }) => kms === 'hsm').length);
      return wrap(key, binding);
    };
    await keys.operations.rewrap({ to });
    expect(new Set(moved)).toEqual(new Set([0]));
  });

  it('replaces nothing when the new provider gives back other bytes', async () => {
    const { store, keys } = await started();
    const to = new FakeKms('hsm');
    to.answer = (key) => key.map((byte) => byte ^ 1);
    const rows = store.rows;
    const report = await keys.operations.rewrap({ to });
    expect(report).toMatchObject({ rewrapped: 0, failures: { length: 4 } });
    expect(report.failures[0]).toMatchObject({ code: 'ERR_KEY_UNWRAP' });
    expect(store.rows).toEqual(rows);
  });

  it('reports a damaged key and moves the others; the next run does the rest', async () => {
    const { store, keys } = await started();
    const to = new FakeKms('hsm');
    const [damaged] = store.rows;
    const { wrapped } = damaged ?? { wrapped: new Uint8Array() };
    store.edit(damaged?.id ?? '', { wrapped: wrapped.map((byte) => byte ^ 1) });

    expect(await keys.operations.rewrap({ to })).toMatchObject({
      rewrapped: 3,
      failures: [{ keyId: damaged?.id, code: 'ERR_KEY_UNWRAP' }],
    });
    store.edit(damaged?.id ?? '', { wrapped });
    expect(await keys.operations.rewrap({ to })).toMatchObject({ rewrapped: 1, current: 3 });
  });

  it('does not undo a change of state that came between', async () => {
    const { store, keys, kms } = await started();
    const other = startProcess({ store, kms });
    const to = new FakeKms('hsm');
    const apply = store.apply.bind(store);
    jest.spyOn(store, 'apply').mockImplementationOnce(async (changes) => {
      await other.keys.rotate('medical');
      return apply(changes);
    });
    expect(await keys.operations.rewrap({ to })).toMatchObject({ conflicts: 0, rewrapped: 4 });
    const medical = store.rows.filter(({ name }) => name === 'medical');
    expect(medical.map(({ state, kms: name }) => [state, name])).toEqual([
      ['deactivated', 'hsm'],
      ['active', 'fake'],
    ]);
  });

  it('can be run by several processes at once', async () => {
    const { store, kms } = await started();
    const to = new FakeKms('hsm');
    const processes = Array.from({ length: 4 }, () => startProcess({ store, kms }));
    const reports = await Promise.all(processes.map(({ keys }) => keys.operations.rewrap({ to })));
    expect(reports.map(({ conflicts, failures }) => [conflicts, failures])).toEqual(
      reports.map(() => [0, []]),
    );
    expect(reports.reduce((sum, { rewrapped }) => sum + rewrapped, 0)).toBe(4);
    expect(new Set(store.rows.map((row) => row.kms))).toEqual(new Set(['hsm']));
  });

  it('wipes every key byte that passed through', async () => {
    const { keys, kms } = await started();
    const to = new FakeKms('hsm');
    await keys.operations.rewrap({ to });
    const open = [...kms.openKeys, ...to.openKeys].filter((key) => key.some((byte) => byte !== 0));
    // The probe is no key.
    expect(open).toHaveLength(1);
  });
});

describe('rewrapping under the newest KEK', () => {
  it('wraps again what is under an older version, once', async () => {
    const { store, keys, kms } = await started();
    expect(await keys.operations.rewrap({})).toMatchObject({ rewrapped: 0, current: 4 });
    kms.kek = 'fake-kek/2';
    expect(await keys.operations.rewrap({ dryRun: true })).toMatchObject({ rewrapped: 4 });
    expect(store.rows.some(({ kek }) => kek === 'fake-kek/2')).toBe(false);
    expect(await keys.operations.rewrap({})).toMatchObject({ rewrapped: 4, kek: 'fake-kek/2' });
    expect(await keys.operations.rewrap({})).toMatchObject({ rewrapped: 0, current: 4 });
    expect(await keys.operations.rewrap({ force: true })).toMatchObject({ rewrapped: 4 });
  });

  it('leaves tombstones alone', async () => {
    const { store, keys } = await started();
    const id = store.rows[0]?.id ?? '';
    await keys.operations.revoke(id);
    await keys.operations.destroy(id, NO_ROWS, 0);
    expect(await keys.operations.rewrap({ force: true })).toMatchObject({ rewrapped: 3 });
    expect(store.rows.find((row) => row.id === id)?.wrapped).toHaveLength(0);
  });

  it('changes nothing while the provider is away', async () => {
    const { store, keys, kms } = await started();
    const rows = store.rows;
    kms.outage = new Error('down');
    await expect(keys.operations.rewrap({})).rejects.toMatchObject({
      code: 'ERR_KMS_UNAVAILABLE',
    });
    expect(store.rows).toEqual(rows);
  });
});
