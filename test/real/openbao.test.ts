import { randomBytes } from 'node:crypto';

import { ConfigurationError, KeyUnwrapError, KmsUnavailableError } from '../../src';
import type { KmsProvider } from '../../src';
import { vaultKms } from '../../src/kms/vault';
import type { VaultKmsOptions } from '../../src/kms/vault';
import { kmsProviderContract } from '../contract/kms-provider.contract';
import { blocksOf, readPage } from '../support/documentation';
import { BINDING, KEY, rejection } from '../support/remote-kms';
import { kmsStory } from './kms-story';
import { describeServer } from './servers/availability';
import { OPENBAO, OpenBao } from './servers/openbao';

const KEY_TYPES = ['aes256-gcm96', 'chacha20-poly1305', 'xchacha20-poly1305'];

/** The policy that the documentation prints. */
const POLICY =
  blocksOf(readPage('docs/vault.md')).find(({ file }) => file === 'policy.hcl')?.content ?? '';

describeServer(OPENBAO, 'vaultKms', (command) => {
  let server: OpenBao;
  const opened: KmsProvider[] = [];

  beforeAll(async () => {
    server = await OpenBao.start(command);
    await server.ask('POST', 'sys/mounts/transit', { type: 'transit' });
    await server.ask('POST', 'transit/keys/clinic', { type: 'aes256-gcm96' });
  });
  afterEach(async () => {
    for (const kms of opened.splice(0)) await kms.close?.();
  });
  afterAll(async () => server.stop());

  function open(options: Partial<VaultKmsOptions> = {}): KmsProvider {
    const kms = vaultKms({
      address: server.address,
      key: 'clinic',
      timeoutMs: 2000,
      totalTimeoutMs: 5000,
      ...(options.auth === undefined ? { token: server.rootToken } : {}),
      ...options,
    });
    opened.push(kms);
    return kms;
  }

  async function makeKey(settings: Record<string, unknown>, namespace?: string): Promise<string> {
    const key = `kek-${randomBytes(6).toString('hex')}`;
    await server.ask('POST', `transit/keys/${key}`, settings, namespace);
    return key;
  }

  async function expectToServe(kms: KmsProvider): Promise<void> {
    const wrapped = await kms.wrapKey(KEY, BINDING);
    expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
  }

  async function policy(text: string): Promise<string> {
    const name = `policy-${randomBytes(6).toString('hex')}`;
    await server.ask('PUT', `sys/policies/acl/${name}`, { policy: text });
    return name;
  }

  describe.each(KEY_TYPES)('with a key of type %s keeps the provider contract', (type) => {
    kmsProviderContract(async () => {
      const key = await makeKey({ type });
      await server.ask('POST', `transit/keys/${key}/rotate`);
      return {
        kms: open({ key }),
        stranger: open({ key: await makeKey({ type }) }),
        secrets: [server.rootToken],
        close: () => Promise.resolve(),
      };
    });
  });

  describe('with the documented policy', () => {
    it('needs nothing beyond it', async () => {
      const kms = open({ token: await server.token([await policy(POLICY)]) });
      await expectToServe(kms);
      expect(await kms.health()).toMatchObject({ ok: true, mayWrap: true, mayUnwrap: true });
    });

    it.each([
      ['read', 'transit/keys/clinic'],
      ['update', 'transit/encrypt/clinic'],
      ['update', 'transit/decrypt/clinic'],
    ])('names the right to %s %s where it is missing', async (capability, path) => {
      const lines = POLICY.split('\n').filter((line) => !line.includes(`"${path}"`));
      expect(lines).toHaveLength(POLICY.split('\n').length - 1);
      const kms = open({ token: await server.token([await policy(lines.join('\n'))]) });
      const error = await rejection(expectToServe(kms));
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toContain(`"${capability}" on ${path}`);
    });

    it.each([
      ['encrypt', { ok: true, mayWrap: false, mayUnwrap: true }],
      ['decrypt', { ok: false, mayWrap: true, mayUnwrap: false }],
    ])(
      'says of its health that the right to %s is missing, before it is needed',
      async (line, expected) => {
        const rights = POLICY.split('\n').filter((each) => !each.includes(`"transit/${line}/`));
        // With the default policy, as tokens have it, which lets each ask for its own rights.
        const settings = { no_default_policy: false };
        const token = await server.token([await policy(rights.join('\n'))], settings);
        const health = await open({ token }).health();
        expect(health).toMatchObject({ ...expected, authenticated: true, kekVersion: '1' });
        expect(health.detail).toContain(`"update" on transit/${line}/clinic`);
      },
    );
  });

  it('reports a token that was revoked, and one that nothing renews', async () => {
    const settings = { no_default_policy: false, ttl: '1h', renewable: false };
    const token = await server.token([await policy(POLICY)], settings);
    const kms = open({ token });
    const { ok, detail, kekCreatedAt } = await kms.health();
    expect({ ok, detail }).toEqual({
      ok: true,
      detail: expect.stringContaining('ends at 20') as string,
    });
    expect(Math.abs(Date.now() - (kekCreatedAt?.getTime() ?? 0))).toBeLessThan(3_600_000);
    await server.ask('POST', 'auth/token/revoke', { token });
    expect(await kms.health()).toMatchObject({ ok: false, reachable: true, authenticated: false });
  });

  it('names the command that takes a soft-deleted key back', async () => {
    const key = await makeKey({ type: 'aes256-gcm96' });
    const kms = open({ key });
    const wrapped = await kms.wrapKey(KEY, BINDING);
    await server.ask('DELETE', `transit/keys/${key}/soft-delete`);
    for (const use of [kms.wrapKey(KEY, BINDING), kms.unwrapKey(wrapped, BINDING)]) {
      const error = await rejection(use);
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toContain(`transit/keys/${key}/soft-delete-restore`);
    }
    expect(await kms.health()).toMatchObject({ ok: false, authenticated: true });
    await server.ask('POST', `transit/keys/${key}/soft-delete-restore`);
    await expectToServe(kms);
  });

  it('refuses a derived key, which would take a context with every call', async () => {
    const kms = open({ key: await makeKey({ type: 'aes256-gcm96', derived: true }) });
    const error = await rejection(kms.wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('derived');
  });

  it('logs in with AppRole, and renews its token for as long as it is used', async () => {
    const name = await policy(POLICY);
    await server.ask('POST', 'sys/auth/approle', { type: 'approle' });
    await server.ask('POST', 'auth/approle/role/clinic', {
      token_policies: [name],
      token_ttl: '2s',
      token_max_ttl: '1h',
      token_no_default_policy: false,
    });
    const { data: role } = await server.ask('GET', 'auth/approle/role/clinic/role-id');
    const { data: secret } = await server.ask('POST', 'auth/approle/role/clinic/secret-id', {});
    const kms = open({
      auth: {
        method: 'approle',
        roleId: (role as { role_id: string }).role_id,
        secretId: (secret as { secret_id: string }).secret_id,
      },
    });
    await expectToServe(kms);
    await new Promise((resolve) => setTimeout(resolve, 4000));
    await expectToServe(kms);
    const log = await server.auditLog();
    expect(log).toContain('auth/token/renew-self');
    expect(log.split('"auth/approle/login"').length - 1).toBeLessThanOrEqual(2);
  });

  it('works within a namespace', async () => {
    await server.ask('POST', 'sys/namespaces/clinic', {});
    await server.ask('POST', 'sys/mounts/transit', { type: 'transit' }, 'clinic');
    const key = await makeKey({ type: 'aes256-gcm96' }, 'clinic');
    const kms = open({ key, namespace: 'clinic' });
    await expectToServe(kms);
    expect((await kms.wrapKey(KEY, BINDING)).kek).toContain('clinic/transit');
    expect(await rejection(open({ key }).wrapKey(KEY, BINDING))).toBeInstanceOf(ConfigurationError);
  });

  it('names the version where min_decryption_version forbids it, and reads again when it is lowered', async () => {
    const key = await makeKey({ type: 'aes256-gcm96' });
    const kms = open({ key });
    const wrapped = await kms.wrapKey(KEY, BINDING);
    await server.ask('POST', `transit/keys/${key}/rotate`);
    await server.ask('POST', `transit/keys/${key}/config`, { min_decryption_version: 2 });
    const error = await rejection(kms.unwrapKey(wrapped, BINDING));
    expect(error).toBeInstanceOf(KeyUnwrapError);
    expect(error.message).toContain('min_decryption_version=1');
    await server.ask('POST', `transit/keys/${key}/config`, { min_decryption_version: 1 });
    expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
  });

  it('says that the server is sealed, and serves when it is unsealed', async () => {
    const kms = open();
    const wrapped = await kms.wrapKey(KEY, BINDING);
    await server.seal();
    const error = await rejection(kms.unwrapKey(wrapped, BINDING));
    expect(error).toBeInstanceOf(KmsUnavailableError);
    expect(error.message).toContain('sealed');
    expect(await kms.health()).toMatchObject({
      ...{ ok: false, reachable: true },
      detail: expect.stringContaining('sealed'),
    });
    await server.unseal();
    expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
  });

  it('leaves no key in the audit log of the server', async () => {
    const key = randomBytes(32);
    const kms = open();
    await kms.unwrapKey(await kms.wrapKey(key, BINDING), BINDING);
    const log = await server.auditLog();
    expect(log).toContain('transit/encrypt/clinic');
    for (const text of [key.toString('base64'), key.toString('hex'), server.rootToken]) {
      expect(log).not.toContain(text);
    }
  });

  describe('through a life with an application', () => {
    kmsStory(async () => {
      const name = await policy(POLICY.replaceAll('clinic', 'story'));
      await server.ask('POST', 'transit/keys/story', { type: 'aes256-gcm96' });
      let token = await server.token([name]);
      return {
        open: () => open({ key: 'story', token: () => token }),
        namesVersions: true,
        rotateKek: async () => {
          await server.ask('POST', 'transit/keys/story/rotate');
        },
        revokeAccess: async () => {
          await server.ask('POST', 'auth/token/revoke', { token });
        },
        grantAccess: async () => {
          token = await server.token([name]);
        },
        cutOff: () => server.kill(),
        bringBack: () => server.restart(),
      };
    });
  });
});
