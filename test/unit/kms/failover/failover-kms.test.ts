import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import { ConfigurationError, KeyUnwrapError, KmsUnavailableError } from '../../../../src/errors';
import type { FailoverEvent, FailoverKmsOptions } from '../../../../src/kms/failover';
import { failoverKms } from '../../../../src/kms/failover';
import { isAuthenticated } from '../../../../src/kms/kms-provider';
import type { KmsProvider } from '../../../../src/kms/kms-provider';
import { vaultKms } from '../../../../src/kms/vault';
import { kmsProviderContract } from '../../../contract/kms-provider.contract';
import { BINDING, KEY, rejection, shown } from '../../../support/remote-kms';
import { ROOT_TOKEN, VaultDouble } from '../../../support/vault-double';

const OTHER_KEY_ID = 'fedcba9876543210';
const KEK_SECRET = 'canary-memory-kek';

/** A provider in memory whose state a test sets. */
class Switchable implements KmsProvider {
  readonly name: string;
  readonly calls: string[] = [];
  state: 'up' | 'away' | 'hanging' | 'denying' | 'broken' = 'up';
  /** Id of the one key whose row it takes for ever over. */
  hangsOn: string | undefined;
  readonly #keys = new Map<string, { key: Buffer; binding: string }>();

  constructor(name: string) {
    this.name = name;
  }

  async wrapKey(key: Uint8Array, binding: object) {
    await this.#enter('wrap');
    const wrapped = randomBytes(48);
    this.#keys.set(wrapped.toString('hex'), {
      key: Buffer.from(key),
      binding: JSON.stringify(binding),
    });
    return { kek: `${this.name}:kek`, wrapped };
  }

  async unwrapKey({ wrapped }: { wrapped: Uint8Array }, binding: { keyId: string }) {
    await this.#enter('unwrap');
    if (binding.keyId === this.hangsOn) await new Promise(() => undefined);
    const held = this.#keys.get(Buffer.from(wrapped).toString('hex'));
    if (held?.binding !== JSON.stringify(binding)) throw new KeyUnwrapError('does not unwrap');
    return Uint8Array.from(held.key);
  }

  async health() {
    this.calls.push('health');
    const ok = this.state === 'up';
    const able = { reachable: ok, authenticated: ok, mayWrap: ok, mayUnwrap: ok };
    return { ok, detail: this.state, ...able };
  }

  async #enter(call: string): Promise<void> {
    this.calls.push(call);
    if (this.state === 'away') throw new KmsUnavailableError(`${this.name} is away`);
    if (this.state === 'denying') throw new ConfigurationError(`${this.name} denies`);
    if (this.state === 'broken') throw new Error(KEK_SECRET);
    if (this.state === 'hanging') await new Promise(() => undefined);
  }
}

describe('failoverKms keeps the provider contract', () => {
  kmsProviderContract(() => {
    const open = () => failoverKms([new Switchable('one'), new Switchable('two')]);
    const [kms, stranger] = [open(), open()];
    return Promise.resolve({
      kms,
      stranger,
      secrets: [],
      close: () => Promise.resolve(),
    });
  });
});

describe('failoverKms over two Vaults, on doubles, keeps the provider contract', () => {
  const doubles = [new VaultDouble(), new VaultDouble()];
  beforeAll(() => Promise.all(doubles.map(({ http }) => http.start())));
  afterAll(() => Promise.all(doubles.map(({ http }) => http.stop())));

  kmsProviderContract(() => {
    const open = (key: string) =>
      failoverKms(
        doubles.map((double) => {
          double.makeKey(key);
          return vaultKms({ address: double.address, token: ROOT_TOKEN, key });
        }),
        { labels: ['east', 'west'] },
      );
    const [kms, stranger] = [open('clinic'), open('stranger')];
    return Promise.resolve({
      kms,
      stranger,
      secrets: [ROOT_TOKEN],
      close: async () => {
        await kms.close?.();
        await stranger.close?.();
      },
    });
  });
});

describe('failoverKms', () => {
  let primary: Switchable;
  let standby: Switchable;
  let events: FailoverEvent[];
  let kms: KmsProvider;

  const open = (options: FailoverKmsOptions = {}): KmsProvider =>
    failoverKms([primary, standby], {
      switchAfterMs: 200,
      probeEveryMs: 200,
      onEvent: (event) => events.push(event),
      ...options,
    });

  beforeEach(() => {
    primary = new Switchable('primary');
    standby = new Switchable('standby');
    events = [];
    kms = open();
  });

  afterEach(async () => {
    await kms.close?.();
  });

  const unwrap = async (wrapped: Awaited<ReturnType<KmsProvider['wrapKey']>>) =>
    Buffer.from(await kms.unwrapKey(wrapped, BINDING));

  it('has both wrap, and the primary unwrap', async () => {
    const wrapped = await kms.wrapKey(KEY, BINDING);
    expect(wrapped.kek).toBe('failover:primary=primary:kek;standby=standby:kek');
    expect(await unwrap(wrapped)).toEqual(KEY);
    expect([primary.calls, standby.calls]).toEqual([['wrap', 'unwrap'], ['wrap']]);
    expect(events).toEqual([]);
  });

  it.each(['away', 'hanging', 'broken', 'denying'] as const)(
    'has the standby unwrap while the primary is %s',
    async (state) => {
      const wrapped = await kms.wrapKey(KEY, BINDING);
      primary.state = state;
      expect(await unwrap(wrapped)).toEqual(KEY);
      expect(standby.calls).toEqual(['wrap', 'unwrap']);
    },
  );

  it('asks a primary that is down no more, and again when a probe finds it well', async () => {
    const wrapped = await kms.wrapKey(KEY, BINDING);
    primary.state = 'hanging';
    await unwrap(wrapped);
    await unwrap(wrapped);
    expect(events).toEqual([{ type: 'providerDown', provider: 'primary' }]);

    primary.calls.length = 0;
    for (let round = 0; round < 5; round += 1) await unwrap(wrapped);
    expect(primary.calls).not.toContain('unwrap');

    primary.state = 'up';
    await sleep(600);
    expect(events.at(-1)).toEqual({ type: 'providerUp', provider: 'primary' });
    standby.calls.length = 0;
    expect(await unwrap(wrapped)).toEqual(KEY);
    expect(standby.calls).toEqual([]);
  });

  it('does not take a primary for down that fails on one key alone, however often', async () => {
    const wrapped = await kms.wrapKey(KEY, BINDING);
    const other = await kms.wrapKey(KEY, { ...BINDING, keyId: OTHER_KEY_ID });
    primary.hangsOn = OTHER_KEY_ID;
    const unwrapOther = () => kms.unwrapKey(other, { ...BINDING, keyId: OTHER_KEY_ID });
    for (let round = 0; round < 3; round += 1) {
      expect(Buffer.from(await unwrapOther())).toEqual(KEY);
    }
    standby.calls.length = 0;
    expect(await unwrap(wrapped)).toEqual(KEY);
    expect([events, standby.calls]).toEqual([[], []]);
  });

  it('takes a primary for down that fails on two keys in a row, whatever it says of itself', async () => {
    const wrapped = await kms.wrapKey(KEY, BINDING);
    const other = await kms.wrapKey(KEY, { ...BINDING, keyId: OTHER_KEY_ID });
    jest.spyOn(primary, 'health').mockResolvedValue({ ok: true } as never);
    primary.state = 'away';
    await unwrap(wrapped);
    expect(events).toEqual([]);
    await kms.unwrapKey(other, { ...BINDING, keyId: OTHER_KEY_ID });
    expect(events).toEqual([{ type: 'providerDown', provider: 'primary' }]);
  });

  it('goes on probing for as long as the primary is down, and stops when it is closed', async () => {
    const wrapped = await kms.wrapKey(KEY, BINDING);
    primary.state = 'away';
    await unwrap(wrapped);
    await unwrap(wrapped);
    await sleep(900);
    const probes = primary.calls.filter((call) => call === 'health').length;
    expect(probes).toBeGreaterThanOrEqual(2);
    expect(events).toEqual([{ type: 'providerDown', provider: 'primary' }]);
    await kms.close?.();
    await sleep(500);
    expect(primary.calls.filter((call) => call === 'health').length).toBeLessThanOrEqual(
      probes + 1,
    );
  });

  it('reports a key that one provider only has wrapped, once, until it is wrapped by both', async () => {
    standby.state = 'away';
    const wrapped = await kms.wrapKey(KEY, BINDING);
    const partly = {
      type: 'partlyWrapped',
      keyId: BINDING.keyId,
      by: ['primary'],
      missing: ['standby'],
    };
    expect(events).toEqual([partly]);
    expect(await unwrap(wrapped)).toEqual(KEY);
    expect(events).toEqual([partly]);
    expect((await kms.health()).detail).toContain('1 data key not wrapped by standby');

    standby.state = 'up';
    await kms.wrapKey(KEY, BINDING);
    expect((await kms.health()).detail).not.toContain('not wrapped');
  });

  it('reports it in another process, which meets the key when it unwraps', async () => {
    standby.state = 'away';
    const wrapped = await kms.wrapKey(KEY, BINDING);
    await kms.close?.();
    events = [];
    kms = open();
    await unwrap(wrapped);
    expect(events).toMatchObject([{ type: 'partlyWrapped', missing: ['standby'] }]);
  });

  it('is unavailable for a key whose only provider is away, and takes it up again', async () => {
    standby.state = 'away';
    const wrapped = await kms.wrapKey(KEY, BINDING);
    standby.state = 'up';
    primary.state = 'away';
    const error = await rejection(kms.unwrapKey(wrapped, BINDING));
    expect(error).toBeInstanceOf(KmsUnavailableError);
    expect(error.retryable).toBe(true);
    primary.state = 'up';
    await sleep(600);
    expect(await unwrap(wrapped)).toEqual(KEY);
  });

  it('bridges a moment in which both are away', async () => {
    const wrapped = await kms.wrapKey(KEY, BINDING);
    primary.state = 'away';
    standby.state = 'away';
    setTimeout(() => (standby.state = 'up'), 0);
    expect(await unwrap(wrapped)).toEqual(KEY);
  });

  it('says what is wrong with each when no provider can do it', async () => {
    const wrapped = await kms.wrapKey(KEY, BINDING);
    [primary.state, standby.state] = ['denying', 'denying'];
    const denied = await rejection(kms.unwrapKey(wrapped, BINDING));
    expect(denied).toBeInstanceOf(ConfigurationError);
    expect(denied.message).toContain('primary denies standby denies');
    expect(await rejection(kms.wrapKey(KEY, BINDING))).toBeInstanceOf(ConfigurationError);
    [primary.state, standby.state] = ['away', 'denying'];
    expect(await rejection(kms.wrapKey(KEY, BINDING))).toBeInstanceOf(KmsUnavailableError);
  });

  it('shows nothing of an error that is not of a provider', async () => {
    [primary.state, standby.state] = ['broken', 'broken'];
    const error = await rejection(kms.wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(KmsUnavailableError);
    expect(shown(error)).not.toContain(KEK_SECRET);
  });

  it('refuses a key of whose parts one was taken away or replaced', async () => {
    const wrapped = await kms.wrapKey(KEY, BINDING);
    const other = await kms.wrapKey(randomBytes(32), BINDING);
    const bytes = Buffer.from(wrapped.wrapped);
    const swapped = Buffer.concat([
      bytes.subarray(0, bytes.length - 32 - 48),
      Buffer.from(other.wrapped).subarray(-32 - 48, -32),
      bytes.subarray(-32),
    ]);
    expect(
      await rejection(kms.unwrapKey({ ...wrapped, wrapped: swapped }, BINDING)),
    ).toBeInstanceOf(KeyUnwrapError);
    // Of the same providers, without the standby's part.
    standby.state = 'away';
    const alone = Buffer.from((await kms.wrapKey(KEY, BINDING)).wrapped);
    const shortened = Buffer.concat([alone.subarray(0, -32), bytes.subarray(-32)]);
    expect(
      await rejection(kms.unwrapKey({ ...wrapped, wrapped: shortened }, BINDING)),
    ).toBeInstanceOf(KeyUnwrapError);
  });

  it('vouches for a key only where each provider does whose part may open it', async () => {
    const wrapped = await kms.wrapKey(KEY, BINDING);
    expect(isAuthenticated(kms, wrapped)).toBe(true);
    Object.assign(standby, { isAuthenticated: () => false });
    expect(isAuthenticated(kms, wrapped)).toBe(false);
    // Where the standby is none of the providers, its part opens nothing.
    const labels = ['primary', 'other'];
    expect(isAuthenticated(open({ labels }), wrapped)).toBe(true);
    expect(isAuthenticated(kms, { kek: 'failover', wrapped: Buffer.of(1) })).toBe(false);
  });

  it('says that a key is of providers that are not here', async () => {
    const wrapped = await kms.wrapKey(KEY, BINDING);
    const others = open({ labels: ['east', 'west'] });
    const error = await rejection(others.unwrapKey(wrapped, BINDING));
    expect(error).toBeInstanceOf(KeyUnwrapError);
    expect(error.message).toContain('labels');
  });

  it('finds the part of a provider by its label, whatever the order', async () => {
    const wrapped = await kms.wrapKey(KEY, BINDING);
    const turned = failoverKms([standby, primary]);
    expect(Buffer.from(await turned.unwrapKey(wrapped, BINDING))).toEqual(KEY);
    expect(standby.calls).toEqual(['wrap', 'unwrap']);
  });

  it('is well as long as one provider is', async () => {
    expect(await kms.health()).toMatchObject({
      ok: true,
      detail: 'primary: up (up); standby: up (up)',
      members: [
        { name: 'primary', ok: true, mayUnwrap: true },
        { name: 'standby', ok: true, mayUnwrap: true },
      ],
    });
    primary.state = 'away';
    expect(await kms.health()).toMatchObject({
      ...{ ok: true, reachable: true, mayUnwrap: true },
      detail: 'primary: down (away); standby: up (up)',
      members: [
        { name: 'primary', ok: false, reachable: false },
        { name: 'standby', ok: true },
      ],
    });
    standby.state = 'away';
    expect(await kms.health()).toMatchObject({ ok: false, reachable: false, mayUnwrap: false });
  });

  it('is not stopped by a listener that throws', async () => {
    standby.state = 'away';
    const onEvent = () => {
      throw new Error('listener');
    };
    await expect(open({ onEvent }).wrapKey(KEY, BINDING)).resolves.toBeDefined();
  });

  it.each<[string, () => KmsProvider[], object]>([
    ['want a primary and a standby', () => [primary], {}],
    ['want a primary and a standby', () => Array.from({ length: 5 }, () => primary), {}],
    ['two providers have one name', () => [primary, primary], {}],
    ['not a KMS provider', () => [primary, {} as KmsProvider], {}],
    ['labels must have', () => [primary, standby], { labels: ['one'] }],
    ['labels must have', () => [primary, standby], { labels: ['One', 'Two'] }],
    ['switchAfterMs must be', () => [primary, standby], { switchAfterMs: 1 }],
    ['onEvent must be', () => [primary, standby], { onEvent: 5 }],
    ['there is no option retries', () => [primary, standby], { retries: 5 }],
  ])('refuses options by name: %s', (message, providers, options) => {
    const make = () => failoverKms(providers(), options);
    expect(make).toThrow(ConfigurationError);
    expect(make).toThrow(message);
  });
});

describe('failoverKms over two Vaults, on doubles', () => {
  it('switches within its deadline when the primary stops, and back when it starts again', async () => {
    const doubles = [new VaultDouble(), new VaultDouble()] as const;
    await Promise.all(doubles.map(({ http }) => http.start()));
    const providers = doubles.map((double) => {
      double.makeKey('clinic');
      return vaultKms({ address: double.address, token: ROOT_TOKEN, key: 'clinic' });
    });
    const events: string[] = [];
    const kms = failoverKms(providers, {
      labels: ['east', 'west'],
      switchAfterMs: 1000,
      probeEveryMs: 300,
      onEvent: ({ type }) => events.push(type),
    });
    const wrapped = await kms.wrapKey(KEY, BINDING);
    const other = await kms.wrapKey(KEY, { ...BINDING, keyId: OTHER_KEY_ID });
    const [east] = doubles;
    east.http.fail({ hang: true, times: 1000 });

    const start = performance.now();
    expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
    expect(performance.now() - start).toBeLessThan(3000);
    await kms.unwrapKey(other, { ...BINDING, keyId: OTHER_KEY_ID });
    expect(events).toEqual(['providerDown']);

    east.http.mend();
    for (let waited = 0; events.length < 2 && waited < 10_000; waited += 100) await sleep(100);
    expect(events).toEqual(['providerDown', 'providerUp']);
    east.http.calls.length = 0;
    expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
    expect(east.http.callsTo('decrypt')).toHaveLength(1);

    await kms.close?.();
    await Promise.all(doubles.map(({ http }) => http.stop()));
  });
});
