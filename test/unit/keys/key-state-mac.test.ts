import type { KeyRecord } from '../../../src/keys/record/key-record';
import { KeyWrapper } from '../../../src/keys/wrapping/key-wrapper';
import { giveState, MAX_AGE_MS, startProcess } from '../../support/key-fixtures';
import type { Process } from '../../support/key-fixtures';

const DATA_ONLY = { index: false };
const LATER = new Date('2031-01-01T00:00:00Z');

async function twoVersions(): Promise<{ process: Process; old: KeyRecord; active: KeyRecord }> {
  const process = startProcess();
  await process.keys.prepare(['default'], DATA_ONLY);
  await process.keys.rotate('default');
  const [old, active] = process.store.rows;
  if (old === undefined || active === undefined) throw new Error('no keys');
  return { process, old, active };
}

describe('the state of a key', () => {
  const edits: readonly [string, Partial<KeyRecord>][] = [
    ['state active', { state: 'active' }],
    ['state suspended', { state: 'suspended' }],
    ['state preActive', { state: 'preActive' }],
    ['date of activation', { activatedAt: LATER }],
    ['date of deactivation', { deactivatedAt: LATER }],
    ['no date of deactivation', { deactivatedAt: null }],
    ['date of compromise', { compromisedAt: LATER }],
    ['date of destruction', { destroyedAt: LATER }],
    ['date of expiry', { expiresAt: LATER }],
    ['date that is none', { activatedAt: new Date(Number.NaN) }],
    ['MAC', { stateMac: new Uint8Array(32) }],
    ['no MAC', { stateMac: new Uint8Array() }],
  ];
  it.each(edits)('that was edited is refused: %s', async (_, edit) => {
    const { process, old } = await twoVersions();
    const { kms } = process;
    const edited = { ...old, ...edit };
    const wrapper = new KeyWrapper(kms, 'clinic');
    const refused = expect.objectContaining({
      code: 'ERR_KEY_STATE',
      retryable: false,
      keyId: old.id,
      message: expect.stringMatching(/Restore the row from a backup; or revoke/) as unknown,
    }) as unknown;
    await expect(wrapper.unwrap(edited)).rejects.toEqual(refused);
    await expect(wrapper.withKeyBytes(edited, () => Promise.resolve())).rejects.toEqual(refused);
    await expect(wrapper.unwrap(old)).resolves.toMatchObject({ key: { id: old.id } });
  });

  it('is checked for each of those who share a request to the KMS', async () => {
    const { process, old } = await twoVersions();
    const wrapper = new KeyWrapper(process.kms, 'clinic');
    const unwraps = process.kms.unwraps;
    const outcomes = await Promise.allSettled([
      wrapper.unwrap(old),
      wrapper.unwrap({ ...old, state: 'active' }),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(process.kms.unwraps).toBe(unwraps + 1);
  });

  it('is another key’s where its MAC is', async () => {
    const { process, old, active } = await twoVersions();
    const wrapper = new KeyWrapper(process.kms, 'clinic');
    const { stateMac } = old;
    await expect(wrapper.unwrap({ ...active, stateMac })).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
    });
  });

  it('that only takes away is honoured without a MAC', async () => {
    const { process, old } = await twoVersions();
    process.store.edit(old.id, { state: 'compromised', stateMac: new Uint8Array() });
    const other = startProcess({ store: process.store, kms: process.kms });
    const [prefix = ''] = (await process.keys.list()).map(({ id }) =>
      Buffer.from(`01${id}`, 'hex').toString('base64url'),
    );
    await other.keys.load([prefix]);
    expect(other.keys.keyByPrefix(prefix).id).toBe(old.id);
  });

  it('keeps a key that was made active again from being written with, rotated or resumed', async () => {
    const { process, old, active } = await twoVersions();
    const { store, kms } = process;
    store.edit(active.id, { state: 'compromised' });
    store.edit(old.id, { state: 'active' });
    const other = startProcess({ store, kms });

    const refused = expect.objectContaining({ code: 'ERR_KEY_STATE', keyId: old.id }) as unknown;
    await expect(other.keys.prepare(['default'], DATA_ONLY)).rejects.toEqual(refused);
    await expect(other.keys.rotate('default')).rejects.toEqual(refused);
    expect(store.rows).toHaveLength(2);

    const { replacement } = await other.keys.operations.revoke(old.id);
    expect(replacement).toMatchObject({ version: 3, state: 'active' });
    await other.keys.prepare(['default'], DATA_ONLY);
    expect(other.keys.activeKey('default').version).toBe(3);
  });

  it('keeps a key that was made preActive again from being activated', async () => {
    const { process, old, active } = await twoVersions();
    await giveState(process, old.id, 'active');
    process.store.edit(active.id, { state: 'preActive' });
    await expect(process.keys.rotate('default')).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
      keyId: active.id,
    });
  });
});

describe('revoking without a replacement', () => {
  it('takes an active key out of use while the KMS is away; the next rotation mends the name', async () => {
    const { process, active } = await twoVersions();
    const { keys, kms, clock } = process;
    kms.outage = new Error('down');
    const revoked = await keys.operations.revoke(active.id, { replace: false });
    expect(revoked).toMatchObject({
      key: { state: 'compromised', deactivatedAt: expect.any(Date) as unknown },
      replacement: null,
    });
    clock.advance(MAX_AGE_MS);
    await expect(keys.prepare(['default'], DATA_ONLY)).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
    });

    kms.outage = undefined;
    expect(await keys.rotate('default')).toMatchObject({ version: 3, state: 'active' });
    await keys.prepare(['default'], DATA_ONLY);
    expect(keys.activeKey('default').version).toBe(3);
  });

  it('asks the KMS for nothing', async () => {
    const { process, active } = await twoVersions();
    const { kms } = process;
    const calls = [kms.wraps, kms.unwraps];
    await process.keys.operations.revoke(active.id, { replace: false });
    expect([kms.wraps, kms.unwraps]).toEqual(calls);
  });
});
