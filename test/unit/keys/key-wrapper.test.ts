import { stateAuthenticator, provenChange } from '../../../src/keys/record/key-macs';
import { inspect } from 'node:util';

import { KeyStateError, KeyUnwrapError, UnsupportedCipherSuiteError } from '../../../src/errors';
import type { KeyRecord, KeySuite } from '../../../src/keys/record/key-record';
import { KeyWrapper } from '../../../src/keys/wrapping/key-wrapper';
import type { KmsProvider } from '../../../src/kms/kms-provider';
import { FakeKms, fastLocalKms, sameKey, startProcess } from '../../support/key-fixtures';
import { forgedRecord } from '../../support/key-forger';

const SPEC = { name: 'default', purpose: 'data', version: 3, suite: 'xaes-256-gcm' } as const;
const NOW = new Date('2026-03-04T05:06:07.890Z');

/** A provider that authenticates nothing, as AES-KW: only the record MAC is left. */
class UnboundKms extends FakeKms {
  override wrapKey(key: Uint8Array): ReturnType<FakeKms['wrapKey']> {
    return Promise.resolve({
      kek: 'unbound',
      wrapped: Uint8Array.from(key, (byte) => byte ^ 0x5a),
    });
  }

  override unwrapKey({ wrapped }: { wrapped: Uint8Array }): Promise<Uint8Array> {
    return Promise.resolve(wrapped.map((byte) => byte ^ 0x5a));
  }
}

/** A provider whose wrapping anybody can do; what it wraps itself bears a mark that nobody else can make. */
class PublicKms extends UnboundKms {
  marks = true;

  override async wrapKey(key: Uint8Array): ReturnType<FakeKms['wrapKey']> {
    const { kek, wrapped } = await super.wrapKey(key);
    return { kek, wrapped: Buffer.concat([Buffer.of(this.marks ? 2 : 1), wrapped]) };
  }

  override async unwrapKey({ wrapped }: { wrapped: Uint8Array }): Promise<Uint8Array> {
    await this.gate;
    return super.unwrapKey({ wrapped: wrapped.slice(1) });
  }

  isAuthenticated({ wrapped }: { wrapped: Uint8Array }): boolean {
    if (wrapped.length < 2) throw new Error('malformed');
    return wrapped[0] === 2;
  }
}

const PROVIDERS: [string, () => KmsProvider][] = [
  ['authenticates the binding', () => new FakeKms()],
  ['authenticates nothing', () => new UnboundKms()],
];

describe.each(PROVIDERS)('KeyWrapper over a KMS that %s', (_, makeKms) => {
  it('unwraps what it has created', async () => {
    const wrapper = new KeyWrapper(makeKms(), 'clinic');
    const { record, unwrapped } = await wrapper.create(SPEC, NOW);
    const again = await wrapper.unwrap(record);
    if (unwrapped.purpose !== 'data' || again.purpose !== 'data') throw new Error('wrong purpose');
    expect(sameKey(unwrapped.key, again.key)).toBe(true);
    expect(again.key).toMatchObject({ id: record.id, name: 'default', version: 3 });
  });

  it.each<[keyof KeyRecord, Partial<KeyRecord>]>([
    ['id', { id: '00000000000000ff' }],
    ['id', { id: 'no id at all' }],
    ['name', { name: 'medical' }],
    ['version', { version: 4 }],
    ['suite', { suite: 'xchacha20-poly1305' }],
    ['suite', { suite: 'aes-256-gcm-siv' }],
    ['purpose', { purpose: 'index', suite: 'hmac-sha-256' }],
    ['kms', { kms: 'other' }],
    ['kek', { kek: 'fake-kek/2' }],
    ['createdAt', { createdAt: new Date(0) }],
    ['createdAt', { createdAt: new Date(Number.NaN) }],
    ['recordMac', { recordMac: Buffer.alloc(32) }],
    ['recordMac', { recordMac: Buffer.alloc(0) }],
    ['recordMac', { recordMac: Buffer.alloc(33) }],
  ])('refuses a record whose %s was edited', async (__, edit) => {
    const wrapper = new KeyWrapper(makeKms(), 'clinic');
    const { record } = await wrapper.create(SPEC, NOW);
    await expect(wrapper.unwrap({ ...record, ...edit })).rejects.toBeInstanceOf(KeyUnwrapError);
  });

  it('refuses two records whose wrapped keys were swapped, with or without their MACs', async () => {
    const wrapper = new KeyWrapper(makeKms(), 'clinic');
    const one = (await wrapper.create(SPEC, NOW)).record;
    const two = (await wrapper.create(SPEC, NOW)).record;

    const { wrapped, recordMac } = two;
    for (const swapped of [{ wrapped }, { recordMac }, { wrapped, recordMac }]) {
      await expect(wrapper.unwrap({ ...one, ...swapped })).rejects.toMatchObject({
        code: 'ERR_KEY_UNWRAP',
        keyId: one.id,
      });
    }
  });

  it('refuses the record of another application', async () => {
    const kms = makeKms();
    const { record } = await new KeyWrapper(kms, 'clinic').create(SPEC, NOW);
    await expect(new KeyWrapper(kms, 'shop').unwrap(record)).rejects.toMatchObject({
      code: 'ERR_KEY_UNWRAP',
      keyId: record.id,
    });
  });

  it('accepts a change of state and of its dates that comes with its MAC, and no other', async () => {
    const wrapper = new KeyWrapper(makeKms(), 'clinic');
    const { record, unwrapped } = await wrapper.create(SPEC, NOW);
    const changed = { state: 'deactivated', activatedAt: null, deactivatedAt: new Date() } as const;
    const proven = provenChange(unwrapped.authenticateState, record, changed, 2);
    await expect(wrapper.unwrap({ ...record, ...proven })).resolves.toBeDefined();
    await expect(wrapper.unwrap({ ...record, ...changed })).rejects.toThrow(KeyStateError);
  });
});

describe('KeyWrapper', () => {
  it('stamps records with a whole second, so that no date column changes them', async () => {
    const { record } = await new KeyWrapper(new FakeKms(), 'clinic').create(SPEC, NOW);
    expect(record.createdAt.getTime() % 1000).toBe(0);
    expect(record.activatedAt).toEqual(record.createdAt);
  });

  it('makes ids and keys that differ', async () => {
    const kms = new FakeKms();
    const wrapper = new KeyWrapper(kms, 'clinic');
    const created = await Promise.all(Array.from({ length: 50 }, () => wrapper.create(SPEC, NOW)));
    expect(new Set(created.map(({ record }) => record.id)).size).toBe(50);
    expect(new Set(kms.keyBytes.map((key) => key.toString('hex'))).size).toBe(50);
  });

  it.each(['aes-512-xyz', 'hmac-sha-256', 'toString', ''])(
    'refuses the unknown suite "%s" without asking the KMS',
    async (suite) => {
      const kms = new FakeKms();
      const wrapper = new KeyWrapper(kms, 'clinic');
      const { record } = await wrapper.create(SPEC, NOW);
      const unwraps = kms.unwraps;
      const edited = { ...record, suite: suite as KeySuite };
      await expect(wrapper.unwrap(edited)).rejects.toBeInstanceOf(UnsupportedCipherSuiteError);
      expect(kms.unwraps).toBe(unwraps);
    },
  );

  it.each([0, 16, 31, 33, 64])('refuses a key that unwraps to %i bytes', async (length) => {
    const kms = new FakeKms();
    const wrapper = new KeyWrapper(kms, 'clinic');
    const { record } = await wrapper.create(SPEC, NOW);
    kms.answer = () => new Uint8Array(length).fill(7);
    await expect(wrapper.unwrap(record)).rejects.toMatchObject({
      code: 'ERR_KEY_UNWRAP',
      keyId: record.id,
    });
    expect(kms.openKeys.at(-1)).toEqual(new Uint8Array(length));
  });

  it.each([
    ['no KEK name', { kek: '', wrapped: Buffer.alloc(40) }],
    ['too long a KEK name', { kek: 'k'.repeat(513), wrapped: Buffer.alloc(40) }],
    ['no wrapped bytes', { kek: 'k', wrapped: Buffer.alloc(0) }],
    ['too many wrapped bytes', { kek: 'k', wrapped: Buffer.alloc(4097) }],
  ])('refuses a KMS that answers with %s', async (_, answer) => {
    const kms = new FakeKms();
    jest.spyOn(kms, 'wrapKey').mockResolvedValue(answer);
    await expect(new KeyWrapper(kms, 'clinic').create(SPEC, NOW)).rejects.toMatchObject({
      code: 'ERR_CONFIGURATION',
    });
  });

  it('says which KMS wrapped a key that another cannot unwrap', async () => {
    const { record } = await new KeyWrapper(new FakeKms('old-hsm'), 'clinic').create(SPEC, NOW);
    const error: unknown = await new KeyWrapper(new FakeKms('new-hsm'), 'clinic')
      .unwrap(record)
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'ERR_KEY_UNWRAP', keyId: record.id });
    expect(String(error)).toContain('wrapped by kms "old-hsm", and this process asks "new-hsm"');
  });

  it('wipes every buffer that held a key in the open, whether it went well or not', async () => {
    const kms = new FakeKms();
    const wrapper = new KeyWrapper(kms, 'clinic');
    const { record } = await wrapper.create(SPEC, NOW);
    await wrapper.unwrap({ ...record, version: 9 }).catch(() => undefined);
    await wrapper.create({ ...SPEC, purpose: 'index', suite: 'hmac-sha-256' }, NOW);
    kms.outage = new Error('down');
    await wrapper.create(SPEC, NOW).catch(() => undefined);

    expect(kms.openKeys.length).toBe(6);
    for (const bytes of kms.openKeys) expect(Buffer.from(bytes)).toEqual(Buffer.alloc(32));
    for (const bytes of kms.keyBytes) expect(bytes).not.toEqual(Buffer.alloc(32));
  });

  it('never puts key bytes in memory that other buffers share', async () => {
    const kms = new FakeKms();
    const wrapKey = jest.spyOn(kms, 'wrapKey');
    await new KeyWrapper(kms, 'clinic').create(SPEC, NOW);
    expect(wrapKey.mock.calls[0]?.[0].buffer.byteLength).toBe(32);
  });
});

describe('the secrets of keys', () => {
  const PASSPHRASE = 'canary-passphrase-4711';

  it('show in nothing that is printed, serialized, stored, told or thrown', async () => {
    const process = startProcess();
    const { keys, kms, store, events } = process;
    await keys.prepare(['default'], { index: true });
    await keys.rotate('default');
    const old = store.rows[0];
    if (old === undefined) throw new Error('no key');
    store.edit(old.id, { name: 'edited' });
    const other = startProcess({ store, kms });
    const prefix = keys.activeKey('default').prefix;
    await other.keys.load([prefix]);
    const errors = await Promise.all([
      new KeyWrapper(kms, 'clinic').unwrap({ ...old, name: 'edited' }).catch(keep),
      new KeyWrapper(kms, 'other').unwrap(old).catch(keep),
      new KeyWrapper(new FakeKms(), 'clinic').unwrap(old).catch(keep),
    ]);

    const things: unknown[] = [
      keys,
      keys.activeKey('default'),
      keys.indexRoots()[0],
      keys.indexRoots()[0].deriveIndexKey(Buffer.from('x')),
      await keys.list(),
      store.rows,
      events,
      ...errors,
    ];
    const printed = things.map(print).join('\n');
    expect(errors.every((error) => error instanceof KeyUnwrapError)).toBe(true);
    expect(kms.keyBytes.length).toBeGreaterThan(5);
    for (const key of kms.keyBytes) expectAbsent(printed, key);
  });

  it('include the passphrase, wherever a local KMS ends up', async () => {
    const kms = fastLocalKms(() => PASSPHRASE);
    const { keys, store } = startProcess({ kms: kms as FakeKms });
    await keys.prepare(['default'], { index: true });
    const error: unknown = await new KeyWrapper(fastLocalKms('canary-other-passphrase'), 'clinic')
      .unwrap(store.rows[0] ?? fail())
      .catch(keep);

    const printed = [kms, keys, store.rows, await kms.health(), error].map(print).join('\n');
    expect(error).toBeInstanceOf(KeyUnwrapError);
    expect(printed).not.toContain('canary');
  });
});

function keep(error: unknown): unknown {
  return error;
}

function fail(): never {
  throw new Error('no row');
}

function print(thing: unknown): string {
  const spread = typeof thing === 'object' ? { ...thing } : thing;
  return [thing, spread]
    .flatMap((each) => [
      inspect(each, { depth: 20, showHidden: true, maxArrayLength: 10_000 }),
      JSON.stringify(each),
    ])
    .join('\n');
}

/** Looks for a key as text, as printed by util.inspect and as a list of numbers. */
function expectAbsent(printed: string, key: Buffer): void {
  const inspected = inspect(key).replace(/^<Buffer (.*)>$/, '$1');
  const texts = [
    key.toString('hex'),
    key.toString('base64'),
    key.toString('base64url'),
    inspected,
    [...key].join(','),
    [...key].join(', '),
  ];
  for (const text of texts) expect(printed.includes(text)).toBe(false);
}

describe('KeyWrapper over a KMS that says which wrapped keys somebody else could have made', () => {
  const known = Buffer.alloc(32, 0x2a);
  const wrapped = Buffer.concat([Buffer.of(1), known.map((byte) => byte ^ 0x5a)]);
  const madeUp = (record: KeyRecord): KeyRecord => {
    const wrapping = { kek: 'unbound', wrapped };
    return forgedRecord(known, wrapping, { ...record, ...wrapping });
  };

  it('reads with them, protects nothing with them, and rewraps them on a word alone', async () => {
    const wrapper = new KeyWrapper(new PublicKms(), 'default');
    const { record } = await wrapper.create(SPEC, new Date());
    const forged = madeUp(record);
    expect(await wrapper.unwrapToRead(forged)).toMatchObject({ key: { isAuthenticated: false } });
    for (const work of [
      () => wrapper.unwrap(forged),
      () => wrapper.withKeyBytes(forged, () => Promise.resolve()),
    ]) {
      await expect(work()).rejects.toMatchObject({
        code: 'ERR_KEY_UNAUTHENTICATED',
        keyId: forged.id,
      });
    }
    const adopted = await wrapper.withBytesToAdopt(forged, async (bytes) => {
      const wrapping = await wrapper.wrapWith(wrapper.providers.primary, forged, bytes);
      const record = { ...forged, ...wrapping };
      return { ...record, stateMac: stateAuthenticator(bytes)(record) };
    });
    expect(await wrapper.unwrap(adopted)).toMatchObject({ key: { isAuthenticated: true } });
  });

  it('makes none of them', async () => {
    const kms = new PublicKms();
    kms.marks = false;
    await expect(new KeyWrapper(kms, 'default').create(SPEC, new Date())).rejects.toThrow(
      /without proof/,
    );
  });

  it('takes no other row of the same id for the one that is being unwrapped', async () => {
    const kms = new PublicKms();
    const wrapper = new KeyWrapper(kms, 'default');
    const { record } = await wrapper.create(SPEC, new Date());
    const forged = madeUp(record);
    let open = (): void => undefined;
    kms.gate = new Promise((resolve) => (open = resolve));
    // The right row again, with a state that goes with the forged key.
    const reading = wrapper.unwrapToRead(forged);
    const protecting = wrapper.unwrap({ ...record, stateMac: forged.stateMac });
    open();
    await reading;
    await expect(protecting).rejects.toThrow(KeyStateError);
  });

  it('asks the provider that opened a key, of those that have its name', async () => {
    const secret = new FakeKms();
    const open = (kms: KmsProvider, others: readonly KmsProvider[]) =>
      new KeyWrapper(kms, 'default', { others });
    const wrappers = [open(secret, [new PublicKms()]), open(new PublicKms(), [secret])];
    const { record } = await wrappers[0]!.create(SPEC, new Date());
    for (const wrapper of wrappers) {
      expect(await wrapper.unwrap(record)).toMatchObject({ isAuthenticated: true });
      await expect(wrapper.unwrap(madeUp(record))).rejects.toMatchObject({
        code: 'ERR_KEY_UNAUTHENTICATED',
      });
    }
  });
});
