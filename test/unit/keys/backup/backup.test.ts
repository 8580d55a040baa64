import { createHash } from 'node:crypto';

import { lengthPrefixed, readLengthPrefixed } from '../../../../src/encoding/length-prefixed';
import { FieldEncryptionError } from '../../../../src/errors';
import { FakeKms, NO_ROWS, prepare, sameKey, startProcess } from '../../../support/key-fixtures';
import type { Process } from '../../../support/key-fixtures';

const SPLIT = { shares: 5, threshold: 3 };

async function started(parts: Parameters<typeof startProcess>[0] = {}): Promise<Process> {
  const process = startProcess(parts);
  await prepare(process, ['default', 'medical'], { index: true });
  await process.keys.rotate('default');
  return process;
}

interface EditableBackup {
  id: string;
  createdAt: string;
  keys: number;
  check: string;
  content: string;
  protection: Record<string, unknown>;
}

/** Set id, count, threshold, index, check value and bytes. */
type ShareFields = [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array];

/** A share that somebody has made up of another; its checksum takes no secret. */
function forged(share: string, change: (fields: ShareFields) => void): string {
  const [prefix = '', encoded = ''] = share.split('.');
  const body = Buffer.from(encoded, 'base64url').subarray(0, -8);
  const fields = readLengthPrefixed(body) as ShareFields;
  change(fields);
  const changed = lengthPrefixed(fields);
  const checksum = createHash('sha256').update(changed).digest().subarray(0, 8);
  return `${prefix}.${Buffer.concat([changed, checksum]).toString('base64url')}`;
}

/** The file with one member of its JSON changed. */
function edited(file: string, change: (members: EditableBackup) => void): string {
  const members = JSON.parse(file) as EditableBackup;
  change(members);
  return JSON.stringify(members);
}

/** The same text with another first character. */
function otherFirst(text: string): string {
  return `${text.startsWith('B') ? 'C' : 'B'}${text.slice(1)}`;
}

describe('a backup', () => {
  it('under a KMS restores every key and the index root into an empty table, under another KMS', async () => {
    const { keys, store } = await started();
    const kms = new FakeKms('backup');
    const { file, keys: count, shares } = await keys.operations.backup({ kms });
    expect([count, shares]).toEqual([4, []]);

    const fresh = startProcess();
    const report = await fresh.keys.operations.restore(file, { kms });

    expect(report.restored.map(({ id, state }) => [id, state]).sort()).toEqual(
      store.rows.map(({ id, state }) => [id, state]).sort(),
    );
    await prepare(fresh, ['default', 'medical'], { index: true });
    expect(sameKey(keys.activeKey('default'), fresh.keys.activeKey('default'))).toBe(true);
    const info = Buffer.from('info');
    expect(fresh.keys.indexRoots()[0].deriveIndexKey(info)).toEqual(
      keys.indexRoots()[0].deriveIndexKey(info),
    );
    const dates = store.rows.map(({ id, createdAt, deactivatedAt }) => [
      id,
      createdAt,
      deactivatedAt,
    ]);
    expect(
      fresh.store.rows
        .map(({ id, createdAt, deactivatedAt }) => [id, createdAt, deactivatedAt])
        .sort(),
    ).toEqual(dates.sort());
  });

  it('that was split opens with any three of five shares', async () => {
    const { keys } = await started();
    const { file, shares } = await keys.operations.backup(SPLIT);
    for (const chosen of [
      [0, 1, 2],
      [4, 2, 0],
      [1, 2, 3, 4],
    ]) {
      const given = chosen.map((at) => ` ${shares[at] ?? ''}\n`);
      const fresh = startProcess();
      expect((await fresh.keys.operations.restore(file, { shares: given })).restored).toHaveLength(
        4,
      );
    }
  });

  it('says nothing of the keys in file and shares', async () => {
    const { keys, kms } = await started();
    const { file, shares } = await keys.operations.backup(SPLIT);
    for (const text of [file, ...shares]) {
      const bytes = Buffer.from(text.replace(/^.*\./, ''), 'base64url');
      for (const key of kms.keyBytes) {
        expect(text).not.toContain(key.toString('base64url'));
        expect(bytes.includes(key)).toBe(false);
      }
    }
    expect(kms.openKeys.every((key) => key.every((byte) => byte === 0))).toBe(true);
  });

  it('is complete or it is none', async () => {
    const { keys, store } = await started();
    store.edit(store.rows[0]?.id ?? '', { kek: 'edited' });
    await expect(keys.operations.backup(SPLIT)).rejects.toMatchObject({ code: 'ERR_KEY_UNWRAP' });
  });

  it.each([
    { shares: 1, threshold: 1 },
    { shares: 2, threshold: 3 },
    { shares: 256, threshold: 3 },
    { shares: 5, threshold: 2.5 },
  ])('is not split %j', async (protection) => {
    const { keys } = await started();
    await expect(keys.operations.backup(protection)).rejects.toMatchObject({
      code: 'ERR_CONFIGURATION',
    });
  });
});

describe('shares', () => {
  let file: string;
  let shares: readonly string[];
  let strangers: readonly string[];

  beforeAll(async () => {
    const { keys } = await started();
    ({ file, shares } = await keys.operations.backup(SPLIT));
    ({ shares: strangers } = await keys.operations.backup(SPLIT));
  });

  const restore = (given: readonly string[]) =>
    startProcess().keys.operations.restore(file, { shares: given });

  it.each<[string, () => string[], string]>([
    ['too few', () => shares.slice(0, 2), 'takes 3 different shares, and 2 of them'],
    ['none', () => [], 'no share was given'],
    ['one three times', () => [0, 0, 0].map((at) => shares[at]!), '1 of them was given'],
    ['those of another backup', () => strangers.slice(0, 3), 'another backup'],
    ['a mixture', () => [...shares.slice(0, 2), strangers[2]!], 'another backup'],
    ['a mistyped one', () => [...shares.slice(0, 2), mistyped(shares[2]!)], 'number 3'],
    ['a shortened one', () => [...shares.slice(0, 2), shares[2]!.slice(0, -4)], 'number 3'],
    ['something else', () => ['hello', 'world', '!'], 'number 1'],
  ])('are refused when they are %s', async (_, given, message) => {
    await expect(restore(given())).rejects.toMatchObject({
      code: 'ERR_CONFIGURATION',
      message: expect.stringContaining(message),
    });
  });

  function mistyped(share: string): string {
    const at = share.length - 30;
    return share.slice(0, at) + (share[at] === 'A' ? 'B' : 'A') + share.slice(at + 1);
  }
});

describe('restoring', () => {
  it('can be run again, and puts back only what is missing', async () => {
    const { keys, store } = await started();
    const kms = new FakeKms('backup');
    const { file } = await keys.operations.backup({ kms });
    const lost = store.rows[1]?.id ?? '';
    store.remove(lost);
    const rows = store.rows;

    expect((await keys.operations.restore(file, { kms }, { dryRun: true })).restored).toHaveLength(
      1,
    );
    expect(store.rows).toEqual(rows);
    expect(await keys.operations.restore(file, { kms })).toMatchObject({
      restored: [{ id: lost }],
      present: { length: 3 },
    });
    expect(await keys.operations.restore(file, { kms })).toMatchObject({
      restored: [],
      present: { length: 4 },
    });
  });

  it('lets an older active version read on beside the one that is active now', async () => {
    const { keys, store } = await started();
    const kms = new FakeKms('backup');
    const { file } = await keys.operations.backup({ kms });
    const before = keys.activeKey('default').id;
    await keys.rotate('default');
    store.remove(before);
    await keys.operations.restore(file, { kms });
    const restored = store.rows.find(({ id }) => id === before);
    expect(restored).toMatchObject({ state: 'deactivated', deactivatedAt: expect.any(Date) });
    const destroyed = keys.operations.destroy(before, NO_ROWS, 60_000);
    await expect(destroyed).rejects.toMatchObject({ code: 'ERR_KEY_STATE', retryable: true });
  });

  it('brings no destroyed key back', async () => {
    const { keys, store } = await started();
    const kms = new FakeKms('backup');
    const { file } = await keys.operations.backup({ kms });
    const id = store.rows.find(({ state }) => state === 'deactivated')?.id ?? '';
    await keys.operations.destroy(id, NO_ROWS, 0);
    expect((await keys.operations.restore(file, { kms })).destroyed).toMatchObject([{ id }]);
    expect(store.rows.find((row) => row.id === id)).toMatchObject({ state: 'destroyed' });
  });

  it('never overwrites different keys, names all of them, and writes nothing at all', async () => {
    const { keys } = await started();
    const kms = new FakeKms('backup');
    const { file } = await keys.operations.backup({ kms });
    const other = startProcess();
    await prepare(other, ['default'], { index: true });
    const rows = other.store.rows;

    await expect(other.keys.operations.restore(file, { kms })).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
      message: expect.stringMatching(
        /another data key "default" version 1 .*; another index key "\w+" version 1 /,
      ),
    });
    expect(other.store.rows).toEqual(rows);
  });

  it('reports a row that was edited since', async () => {
    const { keys, store } = await started();
    const kms = new FakeKms('backup');
    const { file } = await keys.operations.backup({ kms });
    store.edit(store.rows[2]?.id ?? '', { recordMac: new Uint8Array(32) });
    await expect(keys.operations.restore(file, { kms })).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
      keyId: store.rows[2]?.id,
    });
  });

  it('is refused under a KEK that does not open the keys that are there', async () => {
    const { keys, store } = await started();
    const kms = new FakeKms('backup');
    const { file } = await keys.operations.backup({ kms });
    store.remove(store.rows[1]?.id ?? '');
    const misconfigured = startProcess({ store, kms: new FakeKms() });
    const rows = store.rows;
    await expect(misconfigured.keys.operations.restore(file, { kms })).rejects.toMatchObject({
      code: 'ERR_KEY_UNWRAP',
    });
    expect(store.rows).toEqual(rows);
  });

  const CHANGES: [string, (members: EditableBackup) => void][] = [
    ['content', (m) => (m.content = `A${m.content.slice(1)}B`)],
    ['number of keys', (m) => (m.keys += 1)],
    ['date', (m) => (m.createdAt = '2020-01-01T00:00:00.000Z')],
    ['check value', (m) => (m.check = Buffer.alloc(16).toString('base64url'))],
    ['wrapped key', (m) => (m.protection.wrapped = otherFirst(String(m.protection.wrapped)))],
    ['name of the KEK', (m) => (m.protection.kek = 'other')],
    ['id', (m) => (m.id = '0123456789abcdef')],
  ];

  it.each(CHANGES)('refuses a file whose %s was changed', async (_, change) => {
    const { keys } = await started();
    const kms = new FakeKms('backup');
    const { file } = await keys.operations.backup({ kms });
    const fresh = startProcess();
    await expect(
      fresh.keys.operations.restore(edited(file, change), { kms }),
    ).rejects.toMatchObject({ code: 'ERR_KEY_UNWRAP' });
    expect(fresh.store.rows).toEqual([]);
  });

  it.each(['', 'null', '{}', '{"format":"typeorm-field-encryption/key-backup/2"}', 'PK\u0003'])(
    'refuses what is no backup: %j',
    async (text) => {
      const shares: string[] = [];
      await expect(startProcess().keys.operations.restore(text, { shares })).rejects.toMatchObject({
        code: 'ERR_CONFIGURATION',
      });
    },
  );

  it.each<[string, (fields: ShareFields) => void]>([
    ['another threshold', (fields) => (fields[2] = Buffer.from('2'))],
    ['no threshold', (fields) => (fields[2] = Buffer.from('none'))],
    ['a number out of range', (fields) => (fields[3] = Buffer.from('300'))],
    ['no bytes', (fields) => (fields[5] = new Uint8Array())],
    ['bytes of another length', (fields) => (fields[5] = fields[5].subarray(1))],
    ['bytes of nothing', (fields) => (fields[5] = Buffer.alloc(33))],
  ])('refuses a share made up with %s by a typed error', async (_, change) => {
    const { keys } = await started();
    const { file, shares } = await keys.operations.backup(SPLIT);
    const given = shares.slice(0, 3).map((share, at) => (at === 1 ? forged(share, change) : share));
    await expect(
      startProcess().keys.operations.restore(file, { shares: given }),
    ).rejects.toBeInstanceOf(FieldEncryptionError);
  });

  it('refuses a backup of another application, another KMS, or another kind of opener', async () => {
    const { keys } = await started();
    const kms = new FakeKms('backup');
    const { file } = await keys.operations.backup({ kms });
    const shop = startProcess({ application: 'shop' });
    await expect(shop.keys.operations.restore(file, { kms })).rejects.toMatchObject({
      code: 'ERR_CONFIGURATION',
    });
    const fresh = startProcess();
    await expect(
      fresh.keys.operations.restore(file, { kms: new FakeKms('backup') }),
    ).rejects.toMatchObject({ code: 'ERR_KEY_UNWRAP' });
    await expect(fresh.keys.operations.restore(file, { shares: [] })).rejects.toMatchObject({
      code: 'ERR_CONFIGURATION',
    });
  });
});
