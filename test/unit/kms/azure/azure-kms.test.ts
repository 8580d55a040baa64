import { ConfigurationError, KeyUnwrapError, KmsUnavailableError } from '../../../../src/errors';
import type { AzureKmsOptions } from '../../../../src/kms/azure';
import { azureKms } from '../../../../src/kms/azure';
import { AzureClient } from '../../../../src/kms/azure/azure-client';
import { parseOptions } from '../../../../src/kms/azure/options';
import { parse, serialize } from '../../../../src/kms/azure/wrapped-form';
import { isAuthenticated } from '../../../../src/kms/kms-provider';
import type { KmsProvider } from '../../../../src/kms/kms-provider';
import { RemoteCalls } from '../../../../src/kms/remote/remote-calls';
import { kmsProviderContract } from '../../../contract/kms-provider.contract';
import { ACCESS_TOKEN, AzureDouble, refusal } from '../../../support/azure-double';
import type { Fault } from '../../../support/http-double';
import { wrapWithPublicKey } from '../../../support/key-forger';
import { BINDING, KEY, rejection, shown } from '../../../support/remote-kms';

const double = new AzureDouble();

beforeAll(() => double.http.start());
afterAll(() => double.http.stop());

beforeEach(() => {
  double.http.mend();
  double.http.calls.length = 0;
});

const credential = {
  getToken: () =>
    Promise.resolve({ token: ACCESS_TOKEN, expiresOnTimestamp: Date.now() + 3_600_000 }),
};

const open = (name: string, options: Partial<AzureKmsOptions> = {}): KmsProvider =>
  azureKms({
    keyId: double.keyId(name),
    credential,
    timeoutMs: 1500,
    totalTimeoutMs: 6000,
    clientOptions: {
      tlsOptions: { ca: double.certificate.cert },
      // The double is not in Azure's domain.
      disableChallengeResourceVerification: true,
    },
    ...options,
  });

describe.each([
  ['RSA-OAEP-256', 'RSA'],
  ['A256KW', 'oct-HSM'],
] as const)('azureKms with %s on a double keeps the provider contract', (algorithm, type) => {
  kmsProviderContract(() => {
    const [kms, stranger] = [1, 2].map(() => open(double.makeKey(type), { algorithm }));
    return Promise.resolve({
      kms: kms!,
      stranger: stranger!,
      secrets: [ACCESS_TOKEN],
      close: async () => {
        await kms?.close?.();
        await stranger?.close?.();
      },
    });
  });
});

const { AZURE_KEY_ID: realKey, AZURE_OTHER_KEY_ID: otherKey } = process.env;

if (realKey === undefined || otherKey === undefined) {
  it.skip('azureKms on Azure keeps the provider contract (not here: AZURE_KEY_ID and AZURE_OTHER_KEY_ID are not set)', () => {});
} else {
  describe('azureKms on Azure keeps the provider contract', () => {
    kmsProviderContract(() =>
      Promise.resolve({
        kms: azureKms({ keyId: realKey }),
        stranger: azureKms({ keyId: otherKey }),
        secrets: [],
        close: () => Promise.resolve(),
      }),
    );
  });
}

describe('azureKms', () => {
  const callsTo = (operation: string) => double.http.callsTo(operation).length;

  it('pins the version that wrapped, and unwraps under it', async () => {
    const name = double.makeKey('RSA');
    const kms = open(name);
    const first = await kms.wrapKey(KEY, BINDING);
    double.rotate(name, 'RSA');
    const second = await kms.wrapKey(KEY, BINDING);
    const ids = double.keys
      .get(name)!
      .versions.map(({ id }) => `azure-kms:${double.keyId(name)}/${id}`);
    expect([first.kek, second.kek]).toEqual(ids);
    for (const wrapped of [first, second]) {
      expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
    }
  });

  it('wraps under the version that it is given', async () => {
    const name = double.makeKey('RSA');
    const [version] = double.keys.get(name)!.versions;
    double.rotate(name, 'RSA');
    const keyId = `${double.keyId(name)}/${version!.id}`;
    expect((await open(name, { keyId }).wrapKey(KEY, BINDING)).kek).toBe(`azure-kms:${keyId}`);
  });

  it('says that a version is gone', async () => {
    const name = double.makeKey('RSA');
    const kms = open(name);
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.keys.get(name)!.versions.length = 0;
    const error = await rejection(kms.unwrapKey(wrapped, BINDING));
    expect(error).toBeInstanceOf(KeyUnwrapError);
    expect(error.message).toContain('az keyvault key recover');
  });

  it.each<[string, Fault]>([
    ['status 429', refusal(429, 'Throttled')],
    ['status 500', refusal(500, 'InternalError')],
    ['status 503', { status: 503, body: '' }],
    ['a reset connection', { cut: 'before' }],
    ['a try without an answer', { hang: true }],
  ])('tries again after %s, and gives up after three tries', async (_, fault) => {
    const kms = open(double.makeKey('RSA'));
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.http.fail({ ...fault, on: '/unwrapkey' });
    expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
    expect(callsTo('/unwrapkey')).toBe(2);
    double.http.fail({ ...fault, on: '/unwrapkey', times: 100 });
    expect(await rejection(kms.unwrapKey(wrapped, BINDING))).toBeInstanceOf(KmsUnavailableError);
    expect(callsTo('/unwrapkey')).toBe(5);
  });

  it.each<[string, Fault, string]>([
    ['403', refusal(403, 'Forbidden', ACCESS_TOKEN), 'access is denied'],
    ['404', refusal(404, 'KeyNotFound'), 'there is no such key'],
    ['409', refusal(409, 'Conflict'), 'recover'],
    ['400', refusal(400, 'BadParameter'), 'algorithm'],
    ['a page', { status: 200, body: '<html>' }, 'keyId'],
  ])('takes %s as final, and shows no token', async (_, fault, remedy) => {
    double.http.fail({ ...fault, times: 100 });
    const error = await rejection(open(double.makeKey('RSA')).wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain(remedy);
    expect(error.cause).toBeUndefined();
    expect(shown(error)).not.toContain(ACCESS_TOKEN);
  });

  it.each([
    ['wrapped', 'wrapKey', ConfigurationError],
    ['unwrapped', 'unwrapKey', KeyUnwrapError],
  ] as const)('refuses a key %s by another key', async (_, operation, Class) => {
    const name = double.makeKey('RSA');
    const kms = open(name);
    const wrapped = await kms.wrapKey(KEY, BINDING);
    const kid = `${double.keyId('other')}/${'0'.repeat(32)}`;
    double.http.fail({
      on: `/${operation.toLowerCase()}`,
      change: (answer) => ({ ...answer, body: { ...(answer.body as object), kid } }),
    });
    const failed =
      operation === 'wrapKey' ? kms.wrapKey(KEY, BINDING) : kms.unwrapKey(wrapped, BINDING);
    expect(await rejection(failed)).toBeInstanceOf(Class);
  });

  it.each([16, 33])('refuses a key of %i bytes', async (bytes) => {
    const kms = open(double.makeKey('RSA'));
    const wrapped = await kms.wrapKey(KEY, BINDING);
    const value = Buffer.alloc(bytes).toString('base64url');
    double.http.fail({
      on: '/unwrapkey',
      change: (answer) => ({ ...answer, body: { ...(answer.body as object), value } }),
    });
    expect(await rejection(kms.unwrapKey(wrapped, BINDING))).toBeInstanceOf(KeyUnwrapError);
  });

  it('signs by the KEK what it wraps, and verifies with the public key of the version that signed', async () => {
    const name = double.makeKey('RSA');
    const wrapped = await open(name).wrapKey(KEY, BINDING);
    const [version] = double.keys.get(name)!.versions;
    double.rotate(name, 'RSA');
    double.http.calls.length = 0;
    const kms = open(name);
    for (let time = 1; time <= 2; time += 1) {
      expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
    }
    const asked = double.http.calls.filter(({ method }) => method === 'GET');
    expect(asked.every(({ path }) => path.startsWith(`/keys/${name}/${version!.id}`))).toBe(true);
    expect(callsTo('/verify')).toBe(0);
  });

  it('does not ask to unwrap what is not signed by the vault', async () => {
    const [name, other] = [double.makeKey('RSA'), double.makeKey('RSA')];
    const kms = open(name);
    const { kek, wrapped } = await kms.wrapKey(KEY, BINDING);
    const signedByOther = parse((await open(other).wrapKey(KEY, BINDING)).wrapped).signature;
    const forged = { kek, wrapped: serialize({ ...parse(wrapped), signature: signedByOther })! };
    expect(await rejection(kms.unwrapKey(forged, BINDING))).toBeInstanceOf(KeyUnwrapError);
    const moved = { ...BINDING, keyId: 'fedcba9876543210' };
    expect(await rejection(kms.unwrapKey({ kek, wrapped }, moved))).toBeInstanceOf(KeyUnwrapError);
    expect(callsTo('/unwrapkey')).toBe(0);
  });

  it('verifies with no key but the one that it asked the vault for', async () => {
    const [name, other] = [double.makeKey('RSA'), double.makeKey('RSA')];
    const wrapped = await open(name).wrapKey(KEY, BINDING);
    const kid = `${double.keyId(other)}/${double.keys.get(other)!.versions[0]!.id}`;
    double.http.fail({
      on: `/keys/${name}/`,
      times: 100,
      change: (answer) => {
        const { key } = answer.body as { key?: object };
        if (key === undefined) return answer;
        return { ...answer, body: { ...(answer.body as object), key: { ...key, kid } } };
      },
    });
    const error = await rejection(open(name).unwrapKey(wrapped, BINDING));
    expect(error).toBeInstanceOf(KeyUnwrapError);
    expect(error.message).toContain('another key answered');
  });

  it('can sign by a key of its own, which its name in the options picks', async () => {
    const [name, signer] = [double.makeKey('RSA'), double.makeKey('RSA')];
    double.keys.get(name)!.operations = ['wrapKey', 'unwrapKey'];
    double.keys.get(signer)!.operations = ['sign', 'verify'];
    const signing = open(name, { signingKeyId: double.keyId(signer) });
    const wrapped = await signing.wrapKey(KEY, BINDING);
    double.rotate(signer, 'RSA');
    expect(Buffer.from(await signing.unwrapKey(wrapped, BINDING))).toEqual(KEY);
    const without = await rejection(open(name).unwrapKey(wrapped, BINDING));
    expect(without).toBeInstanceOf(KeyUnwrapError);
    expect(without.message).toContain('signingKeyId');
    const stranger = open(name, { signingKeyId: double.keyId(double.makeKey('RSA')) });
    expect(await rejection(stranger.unwrapKey(wrapped, BINDING))).toBeInstanceOf(KeyUnwrapError);
  });

  it('makes no key that it cannot sign, says how to let it, and is well all the same', async () => {
    const name = double.makeKey('RSA');
    const kms = open(name);
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.keys.get(name)!.operations = ['wrapKey', 'unwrapKey'];
    double.http.calls.length = 0;
    const error = await rejection(kms.wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toMatch(/--ops wrapKey unwrapKey sign verify.*signingKeyId.*A256KW/);
    expect(callsTo('/wrapkey')).toBe(0);
    expect(await kms.health()).toMatchObject({
      ok: true,
      detail: expect.stringContaining('makes no keys') as string,
    });
    expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);

    const other = double.makeKey('RSA');
    double.http.fail({ ...refusal(403, 'Forbidden'), on: '/sign', times: 100 });
    const denied = await rejection(open(other).wrapKey(KEY, BINDING));
    expect(denied).toBeInstanceOf(ConfigurationError);
    expect(denied.message).toContain('keys/sign');
  });

  it('reports version and age of the key as its health, and what denies it', async () => {
    const name = double.makeKey('RSA');
    const kms = open(name);
    await kms.unwrapKey(await kms.wrapKey(KEY, BINDING), BINDING);
    expect(await kms.health()).toMatchObject({
      ...{ ok: true, reachable: true, authenticated: true, mayWrap: true, mayUnwrap: true },
      kekVersion: expect.stringMatching(/^[\da-f]{32}$/) as string,
      kekCreatedAt: expect.any(Date) as Date,
    });
    double.keys.get(name)!.operations = ['wrapKey', 'unwrapKey'];
    expect(await kms.health()).toMatchObject({ ok: true, mayWrap: false, mayUnwrap: true });
    double.http.fail({ ...refusal(403, 'Forbidden'), times: 1 });
    expect(await kms.health()).toMatchObject({
      ...{ ok: false, reachable: true, authenticated: true },
      detail: expect.stringContaining('keys/get') as string,
    });
  });

  it('reads what was wrapped before it signed, vouches for none of it, and can refuse it', async () => {
    const name = double.makeKey('RSA');
    const unsigned = wrapWithPublicKey(double, name, KEY);
    const kms = open(name);
    expect(Buffer.from(await kms.unwrapKey(unsigned, BINDING))).toEqual(KEY);
    expect(isAuthenticated(kms, unsigned)).toBe(false);
    const closed = await rejection(open(name, { unsigned: 'refuse' }).unwrapKey(unsigned, BINDING));
    expect(closed).toBeInstanceOf(KeyUnwrapError);
    expect(closed.message).toContain("unsigned: 'read'");
  });

  it('keeps its forms: what was stored once is read as it was', () => {
    const body = Buffer.alloc(256, 0x11);
    const bytes = Buffer.alloc(384, 0x22);
    const [version, signing] = ['0123456789abcdef0123456789abcdef', 'f'.repeat(32)];
    const [kekBytes, signingBytes] = [version, signing].map((hex) => Buffer.from(hex, 'hex'));
    const forms = [
      [Buffer.concat([Buffer.of(1, 1), kekBytes!, body]), undefined],
      [
        Buffer.concat([
          Buffer.of(2, 1),
          kekBytes!,
          Buffer.of(0),
          signingBytes!,
          Buffer.of(1, 0),
          body,
          bytes,
        ]),
        { signer: 'kek', version: signing, bytes },
      ],
      [
        Buffer.concat([
          Buffer.of(2, 1),
          kekBytes!,
          Buffer.of(1),
          signingBytes!,
          Buffer.of(1, 0),
          body,
          bytes,
        ]),
        { signer: 'signingKey', version: signing, bytes },
      ],
    ] as const;
    for (const [stored, signature] of forms) {
      const form = parse(stored);
      expect(form).toEqual({ algorithm: 'RSA-OAEP-256', version, body, signature });
      expect(serialize(form)).toEqual(stored);
    }
    const symmetric = Buffer.concat([Buffer.of(1, 3), kekBytes!, body.subarray(0, 112)]);
    expect(parse(symmetric)).toMatchObject({ algorithm: 'A256KW', signature: undefined });
    const signedSymmetric = Buffer.concat([
      ...[Buffer.of(2, 3), kekBytes!, Buffer.of(0), signingBytes!, Buffer.of(0, 112)],
      ...[body.subarray(0, 112), bytes],
    ]);
    expect(() => parse(signedSymmetric)).toThrow(KeyUnwrapError);
    const unbound = Buffer.concat([Buffer.of(1, 2), kekBytes!, body.subarray(0, 40)]);
    expect(() => parse(unbound)).toThrow(KeyUnwrapError);
  });

  it.each([
    ['disabled', { enabled: false }, 'disabled'],
    ['exportable', { exportable: true }, 'exportable'],
  ])('wraps under no key that is %s', async (_, settings, message) => {
    const name = double.makeKey('RSA');
    Object.assign(double.keys.get(name)!, settings);
    const error = await rejection(open(name).wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain(message);
    expect(callsTo('/wrapkey')).toBe(0);
    expect(await open(name).health()).toMatchObject({ ok: false });
  });

  it('says that the algorithm does not fit the key', async () => {
    const error = await rejection(open(double.makeKey('oct-HSM')).wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('is of type oct-HSM');
  });

  it('does not follow a redirect', async () => {
    double.http.fail({ status: 307, headers: { Location: double.keyId('other') }, times: 100 });
    const error = await rejection(open(double.makeKey('RSA')).wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(callsTo('/keys/other')).toBe(0);
  });

  it('sends nothing to a server whose certificate it does not trust', async () => {
    const error = await rejection(
      open(double.makeKey('RSA'), { clientOptions: {} }).wrapKey(KEY, BINDING),
    );
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('certificate');
    expect(double.http.calls).toEqual([]);
  });

  it('sends no token to a server outside of the domain of Key Vault', async () => {
    const clientOptions = { tlsOptions: { ca: double.certificate.cert } };
    const error = await rejection(
      open(double.makeKey('RSA'), { clientOptions }).wrapKey(KEY, BINDING),
    );
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(double.http.calls.every(({ headers }) => headers.authorization === undefined)).toBe(
      true,
    );
  });

  it('is unavailable while there is no token to be had', async () => {
    const getToken = () =>
      Promise.reject(Object.assign(new Error('canary'), { name: 'CredentialUnavailableError' }));
    const error = await rejection(
      open(double.makeKey('RSA'), { credential: { getToken } }).wrapKey(KEY, BINDING),
    );
    expect(error).toBeInstanceOf(KmsUnavailableError);
    expect(shown(error)).not.toContain('canary');
  });

  it.each<[string, object]>([
    ['keyId must be', { keyId: 'kek' }],
    ['keyId must be', { keyId: 'http://clinic.vault.azure.net/keys/kek' }],
    ['keyId must be', { keyId: 'https://clinic.vault.azure.net/secrets/kek' }],
    ['credential must be', { keyId: 'https://a.vault.azure.net/keys/kek', credential: {} }],
    ['algorithm must be', { keyId: 'https://a.vault.azure.net/keys/kek', algorithm: 'RSA1_5' }],
    [
      'signingKeyId must be',
      {
        keyId: 'https://a.vault.azure.net/keys/kek',
        signingKeyId: 'https://b.vault.azure.net/keys/s',
      },
    ],
    [
      'signingKeyId must be',
      {
        keyId: 'https://a.vault.azure.net/keys/kek',
        signingKeyId: 'https://a.vault.azure.net/keys/s',
        algorithm: 'A256KW',
      },
    ],
    ['unsigned must be', { keyId: 'https://a.vault.azure.net/keys/kek', unsigned: 'yes' }],
    ['there is no option key', { keyId: 'https://a.vault.azure.net/keys/kek', key: 'a' }],
  ])('refuses options by name: %s', (message, options) => {
    const make = () => azureKms(options as AzureKmsOptions);
    expect(make).toThrow(ConfigurationError);
    expect(make).toThrow(message);
  });

  it.each(['@azure/keyvault-keys', '@azure/identity'])(
    'says what to install where %s is not',
    async (missing) => {
      const options = parseOptions({ keyId: 'https://clinic.vault.azure.net/keys/kek' });
      const client = new AzureClient(
        options,
        new RemoteCalls('azureKms', options.limits),
        (name) => {
          if (name === missing) throw new Error('Cannot find module');
          return require(name) as unknown;
        },
      );
      const error = await rejection(client.describeKey(options.kek));
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toContain(`npm install ${missing}`);
    },
  );
});
