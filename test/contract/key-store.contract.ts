import type { KeyRecord } from '../../src/keys/record/key-record';
import type { KeyStore, KeyUpdate } from '../../src/keys/store/key-store';
import { someRecord } from '../support/key-fixtures';

/** A store over an empty key table, and the ways to get at what is around it. */
export interface KeyStoreUnderTest {
  readonly store: KeyStore;
  /** A second store, as of another process, over the same table. */
  readonly other: KeyStore;
  /** Takes the table away, where it can be. */
  dropTable?(): Promise<void>;
  close(): Promise<void>;
}

/** What every implementation of the key table must do. */
export function keyStoreContract(open: () => Promise<KeyStoreUnderTest>): void {
  let subject: KeyStoreUnderTest;

  beforeEach(async () => {
    subject = await open();
  });

  afterEach(async () => {
    await subject.close();
  });

  async function insert(changes: Partial<KeyRecord> = {}): Promise<KeyRecord> {
    const record = someRecord(changes);
    expect(await subject.store.insertFirst(record)).toBe(true);
    return record;
  }

  it('says that the table exists', async () => {
    expect(await subject.store.exists()).toBe(true);
  });

  it('says that the table does not exist instead of failing', async () => {
    if (subject.dropTable === undefined) return;
    await subject.dropTable();
    expect(await subject.store.exists()).toBe(false);
  });

  it('returns a record exactly as it was inserted', async () => {
    const wrapped = Uint8Array.from({ length: 4096 }, (_, index) => index % 256);
    const record = await insert({ wrapped, kek: 'arn:ключ/'.padEnd(512, 'k'), version: 7 });

    const [found] = await subject.other.findByIds([record.id]);

    expect(found && plain(found)).toEqual(plain(record));
  });

  it('keeps dates that are far away or before daylight saving time to the second', async () => {
    const createdAt = new Date('2026-03-29T01:30:00Z');
    const activatedAt = new Date('1999-12-31T23:59:59Z');
    const { id } = await insert({ createdAt, activatedAt });

    const [found] = await subject.store.findByIds([id]);

    expect(found?.createdAt).toEqual(createdAt);
    expect(found?.activatedAt).toEqual(activatedAt);
    expect(found?.deactivatedAt).toBeNull();
  });

  it('finds the active keys of the given names and purpose only', async () => {
    const first = await insert({ name: 'default' });
    const second = await insert({ name: 'medical' });
    await insert({ name: 'billing' });
    await insert({ name: 'default', purpose: 'index', suite: 'hmac-sha-256' });

    const found = await subject.store.findCurrent('data', ['default', 'medical', 'unknown']);

    expect(ids(found)).toEqual(ids([first, second]));
  });

  it('does not take a replaced key for an active one', async () => {
    const first = await insert();
    const next = someRecord({ version: 2 });
    await replaceActive(subject.store, first, next);

    expect(ids(await subject.store.findCurrent('data', ['default']))).toEqual([next.id]);
  });

  it('finds nothing for no names and no ids', async () => {
    await insert();
    expect(await subject.store.findCurrent('data', [])).toEqual([]);
    expect(await subject.store.findByIds([])).toEqual([]);
  });

  it('finds keys by id in any state and leaves out unknown ids', async () => {
    const first = await insert();
    const next = someRecord({ version: 2 });
    await replaceActive(subject.store, first, next);

    const found = await subject.store.findByIds([first.id, 'ffffffffffffffff', next.id, first.id]);

    expect(ids(found)).toEqual(ids([first, next]));
  });

  it('finds keys among thousands of ids', async () => {
    const record = await insert();
    const unknown = Array.from({ length: 5000 }, (_, index) =>
      index.toString(16).padStart(16, '0'),
    );

    expect(ids(await subject.store.findByIds([...unknown, record.id]))).toEqual([record.id]);
  });

  it('lists every key of every purpose and state', async () => {
    const first = await insert();
    const next = someRecord({ version: 2 });
    await replaceActive(subject.store, first, next);
    const root = await insert({ purpose: 'index', suite: 'hmac-sha-256' });

    expect(ids(await subject.other.list())).toEqual(ids([first, next, root]));
  });

  it('refuses a second active key of the same name and purpose without an error', async () => {
    const first = await insert();
    expect(await subject.other.insertFirst(someRecord({ version: 1 }))).toBe(false);
    expect(await subject.other.insertFirst(someRecord({ version: 2 }))).toBe(false);
    expect(ids(await subject.store.list())).toEqual([first.id]);
  });

  it('takes no id a second time', async () => {
    const { id } = await insert();
    expect(await subject.other.insertFirst(someRecord({ id, name: 'medical' }))).toBe(false);
    const record = someRecord({ id, version: 2, state: 'preActive' });
    expect(await subject.other.apply([{ type: 'insert', record }])).toBe(false);
    expect(await subject.store.list()).toMatchObject([{ id, name: 'default', version: 1 }]);
  });

  it('lets exactly one of many first keys in', async () => {
    const records = Array.from({ length: 12 }, () => someRecord());

    const outcomes = await Promise.all(
      records.map((record, index) =>
        (index % 2 === 0 ? subject.store : subject.other).insertFirst(record),
      ),
    );

    const winners = records.filter((_, index) => outcomes[index]);
    expect(winners).toHaveLength(1);
    expect(ids(await subject.store.list())).toEqual(ids(winners));
  });

  it('deactivates the key that it replaces, at the time the next one is activated', async () => {
    const first = await insert();
    const activatedAt = new Date('2026-05-06T07:08:09Z');
    const next = someRecord({ version: 2, activatedAt });

    expect(await replaceActive(subject.store, first, next)).toBe(true);

    const [before, after] = (await subject.other.list()).sort((a, b) => a.version - b.version);
    expect(before && plain(before)).toEqual(
      plain({ ...first, state: 'deactivated', deactivatedAt: activatedAt }),
    );
    expect(after && plain(after)).toEqual(plain(next));
  });

  it('changes nothing when the key to replace is not active any more', async () => {
    const first = await insert();
    const second = someRecord({ version: 2 });
    await replaceActive(subject.store, first, second);

    expect(await replaceActive(subject.other, first, someRecord({ version: 3 }))).toBe(false);

    expect(ids(await subject.store.list())).toEqual(ids([first, second]));
    expect(ids(await subject.store.findCurrent('data', ['default']))).toEqual([second.id]);
  });

  it('changes nothing when the key to replace does not exist', async () => {
    const first = await insert();
    expect(await replaceActive(subject.store, someRecord(), someRecord({ version: 2 }))).toBe(
      false,
    );
    expect(ids(await subject.store.findCurrent('data', ['default']))).toEqual([first.id]);
  });

  it('lets exactly one of many replacements in', async () => {
    const first = await insert();
    const records = Array.from({ length: 8 }, () => someRecord({ version: 2 }));

    const outcomes = await Promise.all(
      records.map((record, index) =>
        replaceActive(index % 2 === 0 ? subject.store : subject.other, first, record),
      ),
    );

    const winners = records.filter((_, index) => outcomes[index]);
    expect(winners).toHaveLength(1);
    expect(ids(await subject.store.findCurrent('data', ['default']))).toEqual(ids(winners));
    expect(await subject.store.list()).toHaveLength(2);
  });

  it('finds announced keys beside the active ones', async () => {
    const first = await insert();
    const next = someRecord({ version: 2, state: 'preActive', activatedAt: null });
    expect(await subject.store.apply([{ type: 'insert', record: next }])).toBe(true);

    expect(ids(await subject.other.findCurrent('data', ['default']))).toEqual(ids([first, next]));
  });

  it('changes every field that may change, and no other', async () => {
    const record = await insert();
    const at = new Date('2026-07-08T09:10:11Z');
    const set: KeyUpdate = {
      state: 'destroyed',
      kms: 'other',
      kek: 'other-kek/2',
      wrapped: new Uint8Array(),
      recordMac: Uint8Array.of(1, 2, 3),
      stateMac: Uint8Array.of(4, 5),
      epoch: 7,
      application: 'hospital',
      activatedAt: at,
      deactivatedAt: at,
      compromisedAt: at,
      destroyedAt: at,
      expiresAt: at,
      owner: 'security@clinic',
      securityLevel: 'confidential',
    };

    expect(await subject.store.apply([{ type: 'update', expected: record, set }])).toBe(true);

    const [found] = await subject.other.findByIds([record.id]);
    expect(found && plain(found)).toEqual(plain({ ...record, ...set }));
  });

  it('adds up the uses that several processes tell of, in any state, and changes nothing else', async () => {
    const record = await insert({ useCount: 2 ** 40 });
    await Promise.all([subject.store.addUses(record.id, 3), subject.other.addUses(record.id, 4)]);
    const set = { state: 'deactivated', stateMac: Uint8Array.of(7), epoch: 2 } as const;
    expect(await subject.store.apply([{ type: 'update', expected: record, set }])).toBe(true);
    await subject.other.addUses(record.id, 5);
    await subject.store.addUses('ffffffffffffffff', 1);

    const rows = await subject.other.list();
    expect(rows.map(plain)).toEqual([plain({ ...record, ...set, useCount: 2 ** 40 + 12 })]);
  });

  it.each([
    ['state', { state: 'suspended' }],
    ['wrapped key', { wrapped: Uint8Array.of(1) }],
    ['epoch', { epoch: 2 }],
  ] as const)('changes nothing when the %s is not as expected', async (_, difference) => {
    const record = await insert();
    const expected = { ...record, ...difference };
    const set = { owner: 'nobody' };

    expect(await subject.store.apply([{ type: 'update', expected, set }])).toBe(false);

    const [found] = await subject.other.findByIds([record.id]);
    expect(found && plain(found)).toEqual(plain(record));
  });

  it('takes all steps or none', async () => {
    const first = await insert();
    const taken = someRecord({ version: 1, state: 'deactivated' });
    const set = { state: 'deactivated', stateMac: Uint8Array.of(1), epoch: 2 } as const;

    const applied = await subject.store.apply([
      { type: 'update', expected: first, set },
      { type: 'insert', record: someRecord({ version: 2 }) },
      { type: 'insert', record: taken },
    ]);

    expect(applied).toBe(false);
    expect((await subject.other.list()).map(plain)).toEqual([plain(first)]);
  });

  it('asks for confirmation after the steps, on the same connection, and undoes them on a no', async () => {
    const first = await insert();
    const change = {
      type: 'update',
      expected: first,
      set: { state: 'deactivated', stateMac: Uint8Array.of(1), epoch: 2 },
    } as const;
    const seen: string[] = [];
    const confirm = (answer: boolean) => async (connection: unknown) => {
      const [row] = await subject.store.findByIds([first.id], connection);
      seen.push(row?.state ?? '');
      return answer;
    };

    expect(await subject.store.apply([change], confirm(false))).toBe(false);
    expect((await subject.store.findByIds([first.id]))[0]?.state).toBe('active');
    expect(await subject.store.apply([change], confirm(true))).toBe(true);
    expect((await subject.store.findByIds([first.id]))[0]?.state).toBe('deactivated');
    expect(seen).toEqual(['deactivated', 'deactivated']);
  });
}

/** What a rotation asks of the store. */
function replaceActive(store: KeyStore, active: KeyRecord, next: KeyRecord): Promise<boolean> {
  const { stateMac, epoch } = active;
  const set = { state: 'deactivated', deactivatedAt: next.activatedAt, stateMac, epoch } as const;
  return store.apply([
    { type: 'update', expected: active, set },
    { type: 'insert', record: next },
  ]);
}

function ids(records: readonly KeyRecord[]): string[] {
  return records.map((record) => record.id).sort();
}

/** Drivers return Buffers, Uint8Arrays of other realms and driver classes: compare what they hold. */
function plain(record: KeyRecord): Record<string, unknown> {
  return {
    ...record,
    wrapped: Buffer.from(record.wrapped).toString('hex'),
    recordMac: Buffer.from(record.recordMac).toString('hex'),
    stateMac: Buffer.from(record.stateMac).toString('hex'),
  };
}
