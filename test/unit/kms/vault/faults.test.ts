import { ConfigurationError, KeyUnwrapError, KmsUnavailableError } from '../../../../src/errors';
import type { VaultKmsOptions } from '../../../../src/kms/vault';
import { vaultKms } from '../../../../src/kms/vault';
import type { Fault } from '../../../support/http-double';
import { HttpDouble } from '../../../support/http-double';
import { BINDING, KEY, rejection, shown } from '../../../support/remote-kms';
import { selfSigned } from '../../../support/self-signed';
import { ROOT_TOKEN, VaultDouble } from '../../../support/vault-double';

describe('vaultKms', () => {
  let double: VaultDouble;

  beforeEach(async () => {
    double = new VaultDouble();
    double.makeKey('clinic');
    await double.http.start();
  });

  afterEach(() => double.http.stop());

  const open = (options: Partial<VaultKmsOptions> = {}) =>
    vaultKms({
      address: double.address,
      token: ROOT_TOKEN,
      key: 'clinic',
      timeoutMs: 1000,
      totalTimeoutMs: 5000,
      ...options,
    });

  it.each<[string, Fault]>([
    ['a reset connection', { cut: 'before' }],
    ['an answer that is cut off', { cut: 'middle' }],
    ['status 500', { status: 500 }],
    ['status 502 with a page', { status: 502, body: '<html>' }],
    ['status 503', { status: 503 }],
    ['status 412', { status: 412 }],
    ['status 429', { status: 429, body: { errors: ['rate limit quota exceeded'] } }],
    ['status 473', { status: 473 }],
    ['a try without an answer', { hang: true }],
  ])('tries again after %s', async (_, fault) => {
    const kms = open();
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.http.fail({ ...fault, on: 'decrypt' });
    expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
    expect(double.http.callsTo('decrypt')).toHaveLength(2);
  });

  it.each<[string, Fault]>([
    ['the connection is reset', { cut: 'before' }],
    ['the server fails', { status: 500 }],
    ['the server is throttled', { status: 429 }],
  ])('gives up after three tries while %s', async (_, fault) => {
    const kms = open();
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.http.fail({ ...fault, on: 'decrypt', times: 100 });
    const error = await rejection(kms.unwrapKey(wrapped, BINDING));
    expect(error).toBeInstanceOf(KmsUnavailableError);
    expect(error).toMatchObject({ code: 'ERR_KMS_UNAVAILABLE', retryable: true });
    expect(double.http.callsTo('decrypt')).toHaveLength(3);
  });

  it('waits as long as Retry-After says', async () => {
    const kms = open();
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.http.fail({ status: 429, headers: { 'Retry-After': '1' }, on: 'decrypt' });
    const start = performance.now();
    await kms.unwrapKey(wrapped, BINDING);
    expect(performance.now() - start).toBeGreaterThanOrEqual(995);
  });

  it('does not wait where Retry-After is beyond its deadline', async () => {
    const kms = open();
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.http.fail({ status: 429, headers: { 'Retry-After': '60' }, on: 'decrypt' });
    expect(await rejection(kms.unwrapKey(wrapped, BINDING))).toBeInstanceOf(KmsUnavailableError);
    expect(double.http.callsTo('decrypt')).toHaveLength(1);
  });

  it('gives up at its deadline, whatever the server does', async () => {
    const kms = open({ timeoutMs: 300, totalTimeoutMs: 500 });
    double.http.fail({ hang: true, times: 100 });
    const error = await rejection(kms.wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(KmsUnavailableError);
    expect(error.message).toContain('no answer within');
  });

  it('says that nobody listens', async () => {
    const kms = open();
    await double.http.stop();
    const error = await rejection(kms.wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(KmsUnavailableError);
    expect(error.message).toContain('ECONNREFUSED');
  });

  it.each<[string, Fault, typeof ConfigurationError | typeof KeyUnwrapError]>([
    ['a page of a proxy', { status: 200, body: '<html>' }, ConfigurationError],
    ['an empty body', { status: 200, body: '' }, ConfigurationError],
    ['no data', { status: 200, body: {} }, ConfigurationError],
    ['null', { status: 200, body: 'null' }, ConfigurationError],
    ['a huge body', { status: 200, body: `"${'x'.repeat(1_000_000)}"` }, ConfigurationError],
    ['no key', { status: 200, body: { data: {} } }, KeyUnwrapError],
    [
      'a key of 16 bytes',
      { status: 200, body: { data: { plaintext: 'A'.repeat(22) + '==' } } },
      KeyUnwrapError,
    ],
    [
      'a key of 33 bytes',
      { status: 200, body: { data: { plaintext: 'A'.repeat(44) } } },
      KeyUnwrapError,
    ],
    [
      'a key in bad base64',
      { status: 200, body: { data: { plaintext: '*'.repeat(44) } } },
      KeyUnwrapError,
    ],
    ['status 404', { status: 404, body: { errors: [] } }, ConfigurationError],
    ['status 418', { status: 418 }, ConfigurationError],
    [
      'status 400',
      { status: 400, body: { errors: ['missing ciphertext to decrypt'] } },
      KeyUnwrapError,
    ],
  ])('refuses %s for good, at the first try', async (_, fault, Class) => {
    const kms = open();
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.http.fail({ ...fault, on: 'decrypt' });
    const error = await rejection(kms.unwrapKey(wrapped, BINDING));
    expect(error).toBeInstanceOf(Class);
    expect(error.retryable).toBe(false);
    expect(double.http.callsTo('decrypt')).toHaveLength(1);
  });

  it.each([
    ['nothing', {}],
    ['another scheme', { ciphertext: `other:v1:${'A'.repeat(80)}` }],
    ['a short ciphertext', { ciphertext: 'vault:v1:AAAA' }],
    ['the key itself', { ciphertext: KEY.toString('base64') }],
  ])('refuses %s as a ciphertext', async (_, data) => {
    double.http.fail({ status: 200, body: { data }, on: 'encrypt' });
    expect(await rejection(open().wrapKey(KEY, BINDING))).toBeInstanceOf(ConfigurationError);
  });

  it('does not follow a redirect, where the token would go along', async () => {
    const other = new HttpDouble(() => ({ status: 200, body: {} }));
    await other.start();
    double.http.fail({
      status: 307,
      headers: { Location: `http://127.0.0.1:${String(other.port)}/v1/transit/keys/clinic` },
      times: 100,
    });
    const error = await rejection(open().wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(KmsUnavailableError);
    expect(error.message).toContain('redirects');
    expect(other.calls).toEqual([]);
    await other.stop();
  });

  it('tells a sealed server from one that denies', async () => {
    double.sealed = true;
    const sealed = await rejection(open({ totalTimeoutMs: 3000 }).wrapKey(KEY, BINDING));
    expect(sealed).toBeInstanceOf(KmsUnavailableError);
    expect(sealed.message).toContain('sealed');
    expect(await open().health()).toEqual({
      ...{ ok: false, reachable: true },
      detail: expect.stringContaining('The server is sealed.') as string,
    });
  });

  it('names a standby when it does not serve', async () => {
    double.standby = true;
    double.http.fail({ status: 472, on: 'transit', times: 100 });
    expect(await open().health()).toEqual({
      ...{ ok: false, reachable: true },
      detail: expect.stringMatching(/disaster recovery standby.*It is a standby\./) as string,
    });
  });

  it('reports key and version as its health, and what denies it', async () => {
    expect(await open().health()).toEqual({
      ...{ ok: true, reachable: true, authenticated: true, mayWrap: true, mayUnwrap: true },
      detail: 'transit/keys/clinic, version 1',
      kekVersion: '1',
      kekCreatedAt: new Date('2023-11-14T22:13:20Z'),
    });
    double.mayRead = false;
    expect(await open().health()).toMatchObject({ ok: false, reachable: true });
    expect((await open().health()).detail).toContain('permission denied');
  });

  it.each([
    ['encrypt', { ok: true, mayWrap: false, mayUnwrap: true }],
    ['decrypt', { ok: false, mayWrap: true, mayUnwrap: false }],
  ])('says of its health that the policy lacks the right to %s', async (operation, expected) => {
    double.allowed = ['encrypt', 'decrypt'].filter((allowed) => allowed !== operation);
    const health = await open().health();
    expect(health).toMatchObject(expected);
    expect(health.detail).toContain(`lacks "update" on transit/${operation}/clinic`);
  });

  it('asks once for rights that it may not ask for, and goes by what it has used', async () => {
    double.mayAskForRights = false;
    const kms = open();
    expect(await kms.health()).toMatchObject({ ok: true, mayWrap: undefined });
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.allowed = ['encrypt'];
    await rejection(kms.unwrapKey(wrapped, BINDING));
    expect(await kms.health()).toMatchObject({ ok: true, mayWrap: true, mayUnwrap: false });
    expect(double.http.callsTo('capabilities-self')).toHaveLength(1);
  });

  it('tells a token that is not known from a policy that lacks a right', async () => {
    const health = await open({ token: 'hvs.revoked' }).health();
    expect(health).toMatchObject({ ok: false, reachable: true, authenticated: false });
    double.http.fail({ cut: 'before', times: 100 });
    expect(await open().health()).toMatchObject({ ok: false, reachable: false });
  });

  it('says when a token ends that nothing renews', async () => {
    const token = 'hvs.short';
    const ttlSeconds = 600;
    const expiresAt = performance.now() + ttlSeconds * 1000;
    double.tokens.set(token, { expiresAt, ttlSeconds, renewable: false, renewals: 0 });
    expect((await open({ token }).health()).detail).toMatch(/token, which ends at 20\d\d-/);
    double.tokens.set(token, { expiresAt, ttlSeconds, renewable: true, renewals: 9 });
    expect((await open({ token }).health()).detail).not.toContain('ends');
  });

  it('names the command that takes a soft-deleted key back', async () => {
    const kms = open();
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.makeKey('clinic', { ...double.keys.get('clinic'), softDeleted: true });
    for (const call of [kms.wrapKey(KEY, BINDING), kms.unwrapKey(wrapped, BINDING)]) {
      const error = await rejection(call);
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toContain('transit/keys/clinic/soft-delete-restore');
    }
    expect(await kms.health()).toMatchObject({ ok: false, authenticated: true });
  });

  it('takes a denial as final', async () => {
    double.mayRead = false;
    const error = await rejection(open().wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('its policy allows "read" on transit/keys/clinic');
    expect(double.http.callsTo('transit')).toHaveLength(1);
  });

  it('makes no key where there is none', async () => {
    const error = await rejection(open({ key: 'clinik' }).wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('vault write -f transit/keys/clinik');
    expect([...double.keys.keys()]).toEqual(['clinic']);
  });

  it('says that the key is gone when it unwraps', async () => {
    const kms = open();
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.keys.delete('clinic');
    const error = await rejection(kms.unwrapKey(wrapped, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('there is no transit/keys/clinic');
  });

  it.each([
    ['of another type', { type: 'rsa-4096' }, 'is of type rsa-4096'],
    ['of 128 bits', { type: 'aes128-gcm96' }, 'is of type aes128-gcm96'],
    ['derived', { derived: true }, 'is derived'],
    ['exportable', { exportable: true }, 'is exportable'],
    ['open to plaintext backups', { allowPlaintextBackup: true }, 'plaintext backups'],
  ])('wraps under no key that is %s', async (_, settings, message) => {
    double.makeKey('clinic', settings);
    const error = await rejection(open().wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain(message);
    expect(double.http.callsTo('encrypt')).toHaveLength(0);
    expect(await open().health()).toMatchObject({ ok: false });
  });

  it('names each version of the KEK, and unwraps what older ones have wrapped', async () => {
    const kms = open();
    const first = await kms.wrapKey(KEY, BINDING);
    double.rotate('clinic');
    const second = await kms.wrapKey(KEY, BINDING);
    expect([first.kek, second.kek]).toEqual([
      'vault:transit/keys/clinic:v1',
      'vault:transit/keys/clinic:v2',
    ]);
    for (const wrapped of [first, second]) {
      expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
    }
  });

  it('says what to do about a version below min_decryption_version', async () => {
    const kms = open();
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.rotate('clinic');
    double.keys.get('clinic')!.minDecryptionVersion = 2;
    const error = await rejection(kms.unwrapKey(wrapped, BINDING));
    expect(error).toBeInstanceOf(KeyUnwrapError);
    expect(error).toMatchObject({ retryable: false });
    expect(error.message).toContain(
      'vault write transit/keys/clinic/config min_decryption_version=1',
    );
    expect(double.http.callsTo('decrypt')).toHaveLength(1);
  });

  it('says that a key lost its newest versions', async () => {
    const kms = open();
    double.rotate('clinic');
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.keys.get('clinic')!.versions.pop();
    const error = await rejection(kms.unwrapKey(wrapped, BINDING));
    expect(error).toBeInstanceOf(KeyUnwrapError);
    expect(error.message).toContain('has no version 2');
  });

  it('goes to its namespace and mount', async () => {
    double.namespaces.add('hospital/clinic');
    double.mount = 'keys/of/clinic';
    const kms = open({ namespace: 'hospital/clinic', mount: 'keys/of/clinic' });
    const wrapped = await kms.wrapKey(KEY, BINDING);
    expect(wrapped.kek).toBe('vault:hospital/clinic/keys/of/clinic/keys/clinic:v1');
    expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
    const error = await rejection(open({ namespace: 'clinik' }).wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('in namespace clinik');
  });

  it('shows no token and no key, even if the server repeats them', async () => {
    const kms = open();
    const wrapped = await kms.wrapKey(KEY, BINDING);
    const secrets = [ROOT_TOKEN, KEY.toString('base64'), KEY.toString('hex')];
    const body = { errors: secrets, data: { echo: secrets } };
    for (const status of [200, 204, 307, 400, 403, 404, 429, 500, 503]) {
      double.http.fail({ status, body, times: 100 });
      for (const failed of [kms.wrapKey(KEY, BINDING), kms.unwrapKey(wrapped, BINDING)]) {
        const error = await rejection(failed);
        for (const secret of secrets) expect(shown(error)).not.toContain(secret);
      }
      expect(JSON.stringify(await kms.health())).not.toContain(ROOT_TOKEN);
      double.http.mend();
    }
  });
});

describe('vaultKms over TLS', () => {
  const certificate = selfSigned('IP:127.0.0.1');
  const server = new HttpDouble(() => ({ status: 500 }), certificate);

  beforeAll(() => server.start());
  afterAll(() => server.stop());

  const attempt = (host: string, ca?: string) =>
    rejection(
      vaultKms({
        address: `https://${host}:${String(server.port)}`,
        token: 'canary-token',
        key: 'clinic',
        ...(ca === undefined ? {} : { ca }),
      }).wrapKey(KEY, BINDING),
    );

  it('sends nothing to a server whose certificate it does not trust, whatever the environment says', async () => {
    process.env['VAULT_SKIP_VERIFY'] = '1';
    const error = await attempt('127.0.0.1').finally(() => delete process.env['VAULT_SKIP_VERIFY']);
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('DEPTH_ZERO_SELF_SIGNED_CERT');
    expect(server.calls).toEqual([]);
  });

  it('sends nothing to a server with the certificate of another', async () => {
    const error = await attempt('localhost', certificate.cert);
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('ERR_TLS_CERT_ALTNAME_INVALID');
    expect(server.calls).toEqual([]);
  });

  it('trusts the authority that it is given', async () => {
    expect(await attempt('127.0.0.1', certificate.cert)).toBeInstanceOf(KmsUnavailableError);
    expect(server.calls.length).toBeGreaterThan(0);
  });
});
