import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { ConfigurationError, KmsUnavailableError } from '../../../../src/errors';
import type { KmsProvider } from '../../../../src/kms/kms-provider';
import type { VaultAuth, VaultKmsOptions } from '../../../../src/kms/vault';
import { vaultKms } from '../../../../src/kms/vault';
import { BINDING, KEY, rejection, shown } from '../../../support/remote-kms';
import { CREDENTIALS, ROOT_TOKEN, VaultDouble } from '../../../support/vault-double';

const { roleId, secretId, username, password, role, jwt } = CREDENTIALS;

const APPROLE: VaultAuth = { method: 'approle', roleId, secretId };

describe('vaultKms', () => {
  const folder = mkdtempSync(join(tmpdir(), 'field-encryption-vault-'));
  const tokenPath = join(folder, 'token');
  writeFileSync(tokenPath, `${jwt}\n`);
  let double: VaultDouble;
  let kms: KmsProvider | undefined;

  beforeEach(async () => {
    double = new VaultDouble();
    double.makeKey('clinic');
    await double.http.start();
  });

  afterEach(async () => {
    await kms?.close?.();
    await double.http.stop();
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  const open = (options: Partial<VaultKmsOptions>): KmsProvider => {
    kms = vaultKms({ address: double.address, key: 'clinic', ...options });
    return kms;
  };
  const logins = () => double.http.callsTo('/login').length;

  it.each<[string, VaultAuth]>([
    ['an AppRole', APPROLE],
    ['an AppRole with a secret id from a function', { ...APPROLE, secretId: async () => secretId }],
    ['a user and password', { method: 'userpass', username, password }],
    ['a service account of Kubernetes', { method: 'kubernetes', role, tokenPath }],
    [
      'a service account of Kubernetes at another mount',
      { method: 'kubernetes', role, tokenPath, mount: 'kubernetes-east' },
    ],
  ])('logs in with %s, once', async (_, auth) => {
    const provider = open({ auth });
    const wrapped = await Promise.all([1, 2, 3].map(() => provider.wrapKey(KEY, BINDING)));
    for (const each of wrapped) {
      expect(Buffer.from(await provider.unwrapKey(each, BINDING))).toEqual(KEY);
    }
    expect(logins()).toBe(1);
  });

  it.each<[string, VaultAuth]>([
    ['an AppRole', { ...APPROLE, secretId: 'canary-wrong' }],
    ['a user and password', { method: 'userpass', username, password: 'canary-wrong' }],
    ['a service account of Kubernetes', { method: 'kubernetes', role: 'other', tokenPath }],
  ])('takes refused credentials of %s as final, and does not show them', async (_, auth) => {
    const error = await rejection(open({ auth }).wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toMatch(/the login at auth\/\w+\/login is refused/);
    expect(shown(error)).not.toMatch(/canary|clinic-role/);
    expect(logins()).toBe(1);
  });

  it('sends no token with a login, also if the environment has one', async () => {
    process.env['VAULT_TOKEN'] = 'canary-from-environment';
    await open({ auth: APPROLE })
      .wrapKey(KEY, BINDING)
      .finally(() => delete process.env['VAULT_TOKEN']);
    const [call] = double.http.callsTo('/login');
    expect(call?.headers['x-vault-token']).toBeUndefined();
  });

  it('takes address, token and namespace from the environment', async () => {
    double.namespaces.add('clinic');
    Object.assign(process.env, {
      VAULT_ADDR: double.address,
      VAULT_TOKEN: ROOT_TOKEN,
      VAULT_NAMESPACE: 'clinic',
    });
    try {
      kms = vaultKms({ key: 'clinic' });
    } finally {
      for (const name of ['VAULT_ADDR', 'VAULT_TOKEN', 'VAULT_NAMESPACE']) {
        Reflect.deleteProperty(process.env, name);
      }
    }
    expect((await kms.wrapKey(KEY, BINDING)).kek).toBe('vault:clinic/transit/keys/clinic:v1');
  });

  it('logs in once more when its token is gone, for all who wait', async () => {
    const provider = open({ auth: APPROLE });
    const wrapped = await provider.wrapKey(KEY, BINDING);
    double.revokeAll();
    const unwrapped = await Promise.all(
      [1, 2, 3, 4].map(() => provider.unwrapKey(wrapped, BINDING)),
    );
    expect(unwrapped.map((key) => Buffer.from(key))).toEqual([KEY, KEY, KEY, KEY]);
    expect(logins()).toBe(2);
  });

  it('does not log in over and over when it stays denied', async () => {
    const provider = open({ auth: APPROLE });
    double.mayRead = false;
    const error = await rejection(provider.wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('permission denied');
    expect(logins()).toBe(2);
    expect(double.http.callsTo('transit/keys')).toHaveLength(2);
  });

  it('asks the function for another token when the first is gone', async () => {
    const tokens = ['canary-expired', ROOT_TOKEN];
    const provider = open({ token: () => tokens.shift() });
    await expect(provider.wrapKey(KEY, BINDING)).resolves.toBeDefined();
    expect(tokens).toEqual([]);
  });

  it('takes the token that its function has at last, however short ago the first was denied', async () => {
    let token = 'canary-expired';
    const provider = open({ token: () => token });
    expect(await rejection(provider.wrapKey(KEY, BINDING))).toBeInstanceOf(ConfigurationError);
    const asked = double.http.calls.length;
    expect(await rejection(provider.wrapKey(KEY, BINDING))).toBeInstanceOf(ConfigurationError);
    expect(double.http.calls.length).toBe(asked + 1);
    token = ROOT_TOKEN;
    await expect(provider.wrapKey(KEY, BINDING)).resolves.toBeDefined();
  });

  it('has nothing but a denial for a given token that is gone', async () => {
    const error = await rejection(open({ token: 'canary-expired' }).wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(shown(error)).not.toContain('canary');
  });

  it('renews its token before that expires', async () => {
    double.login = { ttlSeconds: 2, renewable: true, renewals: 1000 };
    const provider = open({ auth: APPROLE });
    const wrapped = await provider.wrapKey(KEY, BINDING);
    await sleep(3200);
    await provider.unwrapKey(wrapped, BINDING);
    expect(double.http.callsTo('renew-self').length).toBeGreaterThanOrEqual(2);
    expect(logins()).toBe(1);
  });

  it('renews a token that it was given', async () => {
    double.tokens.set('given', {
      expiresAt: performance.now() + 2000,
      ttlSeconds: 2,
      renewable: true,
      renewals: 1000,
    });
    const provider = open({ token: 'given' });
    const wrapped = await provider.wrapKey(KEY, BINDING);
    await sleep(3200);
    await expect(provider.unwrapKey(wrapped, BINDING)).resolves.toBeDefined();
  });

  it.each([
    ['cannot be renewed', { ttlSeconds: 2, renewable: false, renewals: 0 }],
    ['has reached its longest life', { ttlSeconds: 2, renewable: true, renewals: 0 }],
  ])('logs in again before a token expires that %s', async (_, login) => {
    double.login = login;
    const provider = open({ auth: APPROLE });
    const wrapped = await provider.wrapKey(KEY, BINDING);
    await sleep(1800);
    expect(logins()).toBe(2);
    await provider.unwrapKey(wrapped, BINDING);
    expect(double.http.callsTo('decrypt')).toHaveLength(1);
  });

  it('holds no process open with its timer, and stops it when it is closed', async () => {
    double.login = { ttlSeconds: 2, renewable: true, renewals: 1000 };
    const provider = open({ auth: APPROLE });
    await provider.wrapKey(KEY, BINDING);
    await provider.close?.();
    const { length } = double.http.calls;
    await sleep(1800);
    expect(double.http.calls).toHaveLength(length);
  });

  it('names a missing file of the service account', async () => {
    const auth: VaultAuth = { method: 'kubernetes', role, tokenPath: join(folder, 'missing') };
    const error = await rejection(open({ auth }).wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('missing');
  });

  it.each([undefined, '', ' \n'])(
    'says that there is no token where the function has %j',
    async (token) => {
      const error = await rejection(open({ token: () => token }).wrapKey(KEY, BINDING));
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toContain('there is no token');
    },
  );

  it('is unavailable while the function for the secret fails, and shows nothing of why', async () => {
    const failing = () => Promise.reject(new Error('canary of the secret store'));
    const error = await rejection(
      open({ auth: { ...APPROLE, secretId: failing } }).wrapKey(KEY, BINDING),
    );
    expect(error).toBeInstanceOf(KmsUnavailableError);
    expect(shown(error)).not.toContain('canary');
  });

  it('gives up at its deadline on a function that never answers', async () => {
    const provider = open({
      token: () => new Promise(() => undefined),
      timeoutMs: 100,
      totalTimeoutMs: 200,
    });
    expect(await rejection(provider.wrapKey(KEY, BINDING))).toBeInstanceOf(KmsUnavailableError);
  });
});
