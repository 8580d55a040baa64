import { status } from '@grpc/grpc-js';

import { ConfigurationError, KeyUnwrapError, KmsUnavailableError } from '../../../../src/errors';
import type { GcpKmsOptions } from '../../../../src/kms/gcp';
import { gcpKms } from '../../../../src/kms/gcp';
import { crc32c, GcpClient } from '../../../../src/kms/gcp/gcp-client';
import { parseOptions } from '../../../../src/kms/gcp/options';
import type { KmsProvider } from '../../../../src/kms/kms-provider';
import { RemoteCalls } from '../../../../src/kms/remote/remote-calls';
import { kmsProviderContract } from '../../../contract/kms-provider.contract';
import type { GcpFault } from '../../../support/gcp-double';
import { GcpDouble, KEY_RING } from '../../../support/gcp-double';
import { BINDING, KEY, rejection, shown } from '../../../support/remote-kms';

// The SDK would look for a machine of Google's around it.
process.env['METADATA_SERVER_DETECTION'] = 'none';

const double = new GcpDouble();
let client: ReturnType<GcpDouble['client']>;

beforeAll(async () => {
  await double.start();
  client = double.client();
});

afterAll(async () => {
  await client.close();
  double.stop();
});

beforeEach(() => double.mend());

const open = (keyName: string): KmsProvider =>
  gcpKms({ keyName, client, timeoutMs: 1000, totalTimeoutMs: 5000 });

describe('gcpKms on a double over gRPC keeps the provider contract', () => {
  kmsProviderContract(() =>
    Promise.resolve({
      kms: open(double.makeKey()),
      stranger: open(double.makeKey()),
      secrets: [],
      close: () => Promise.resolve(),
    }),
  );
});

const { GCP_KMS_KEY_NAME: realKey, GCP_KMS_OTHER_KEY_NAME: otherKey } = process.env;

if (realKey === undefined || otherKey === undefined) {
  it.skip('gcpKms on Google Cloud keeps the provider contract (not here: GCP_KMS_KEY_NAME and GCP_KMS_OTHER_KEY_NAME are not set)', () => {});
} else {
  describe('gcpKms on Google Cloud keeps the provider contract', () => {
    kmsProviderContract(() => {
      const [kms, stranger] = [gcpKms({ keyName: realKey }), gcpKms({ keyName: otherKey })];
      return Promise.resolve({
        kms,
        stranger,
        secrets: [],
        close: async () => {
          await kms.close?.();
          await stranger.close?.();
        },
      });
    });
  });
}

describe('crc32c', () => {
  it.each([
    ['', 0],
    ['123456789', 0xe3069283],
    ['\0'.repeat(32), 0x8a9136aa],
  ])('gives the published values: %j', (text, value) => {
    expect(crc32c(Buffer.from(text, 'latin1'))).toBe(value);
  });
});

describe('gcpKms', () => {
  it('names the version that wrapped, and unwraps what older ones have wrapped', async () => {
    const keyName = double.makeKey();
    const kms = open(keyName);
    const first = await kms.wrapKey(KEY, BINDING);
    double.rotate(keyName);
    const second = await kms.wrapKey(KEY, BINDING);
    expect([first.kek, second.kek]).toEqual([
      `gcp-kms:${keyName}/cryptoKeyVersions/1`,
      `gcp-kms:${keyName}/cryptoKeyVersions/2`,
    ]);
    for (const wrapped of [first, second]) {
      expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
    }
  });

  it('sends a checksum with all that it sends', async () => {
    const kms = open(double.makeKey());
    await kms.unwrapKey(await kms.wrapKey(KEY, BINDING), BINDING);
    const [encrypt, decrypt] = double.calls.map(({ request }) => request);
    expect(encrypt?.plaintextCrc32c).toEqual({ value: String(crc32c(KEY)) });
    expect(decrypt?.ciphertextCrc32c).toEqual({
      value: String(crc32c(decrypt?.ciphertext as Buffer)),
    });
    for (const request of [encrypt, decrypt]) {
      expect(request?.additionalAuthenticatedDataCrc32c).toEqual({
        value: String(crc32c(request?.additionalAuthenticatedData as Buffer)),
      });
    }
  });

  it.each<[string, NonNullable<GcpFault['change']>]>([
    ['the plaintext was not verified', (reply) => ({ ...reply, verifiedPlaintextCrc32c: false })],
    [
      'the associated data was not verified',
      (reply) => ({ ...reply, verifiedAdditionalAuthenticatedDataCrc32c: false }),
    ],
    ['the ciphertext was damaged', (reply) => ({ ...reply, ciphertext: Buffer.alloc(61) })],
    ['the ciphertext has no checksum', (reply) => ({ ...reply, ciphertextCrc32c: null })],
    ['there is no ciphertext', (reply) => ({ ...reply, ciphertext: Buffer.alloc(0) })],
  ])('wraps again when %s, and gives up after three tries', async (_, change) => {
    const kms = open(double.makeKey());
    double.fail({ change });
    await expect(kms.wrapKey(KEY, BINDING)).resolves.toBeDefined();
    expect(double.calls).toHaveLength(2);
    double.fail({ change, times: 100 });
    expect(await rejection(kms.wrapKey(KEY, BINDING))).toBeInstanceOf(KmsUnavailableError);
    expect(double.calls).toHaveLength(5);
  });

  it('unwraps again when the answer was damaged', async () => {
    const kms = open(double.makeKey());
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.fail({ change: (reply) => ({ ...reply, plaintext: Buffer.alloc(32) }) });
    expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
    expect(double.calls).toHaveLength(3);
  });

  it('refuses a key of 16 bytes', async () => {
    const kms = open(double.makeKey());
    const wrapped = await kms.wrapKey(KEY, BINDING);
    const plaintext = Buffer.alloc(16);
    const plaintextCrc32c = { value: String(crc32c(plaintext)) };
    double.fail({ change: () => ({ plaintext, plaintextCrc32c }) });
    expect(await rejection(kms.unwrapKey(wrapped, BINDING))).toBeInstanceOf(KeyUnwrapError);
  });

  it('refuses an answer of another key', async () => {
    double.fail({
      change: (reply) => ({ ...reply, name: `${KEY_RING}/cryptoKeys/x/cryptoKeyVersions/1` }),
    });
    expect(await rejection(open(double.makeKey()).wrapKey(KEY, BINDING))).toBeInstanceOf(
      ConfigurationError,
    );
  });

  it.each<[string, GcpFault]>([
    ['UNAVAILABLE', { code: status.UNAVAILABLE }],
    ['RESOURCE_EXHAUSTED', { code: status.RESOURCE_EXHAUSTED }],
    ['INTERNAL', { code: status.INTERNAL }],
    ['a call without an answer', { hang: true }],
  ])('tries again after %s, and gives up after three tries', async (_, fault) => {
    const kms = open(double.makeKey());
    double.fail(fault);
    await expect(kms.wrapKey(KEY, BINDING)).resolves.toBeDefined();
    expect(double.calls).toHaveLength(2);
    double.fail({ ...fault, times: 100 });
    const error = await rejection(kms.wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(KmsUnavailableError);
    expect(double.calls).toHaveLength(5);
  });

  it.each([
    ['PERMISSION_DENIED', status.PERMISSION_DENIED, 'cloudkms.cryptoKeyVersions.useToEncrypt'],
    ['UNAUTHENTICATED', status.UNAUTHENTICATED, 'credentials'],
    ['NOT_FOUND', status.NOT_FOUND, 'no such key'],
    ['FAILED_PRECONDITION', status.FAILED_PRECONDITION, 'primary version'],
    ['INVALID_ARGUMENT', status.INVALID_ARGUMENT, 'ENCRYPT_DECRYPT'],
    ['UNIMPLEMENTED', status.UNIMPLEMENTED, 'not Cloud KMS'],
  ])('takes %s as final, and shows nothing that the server says', async (_, code, remedy) => {
    double.fail({ code });
    const error = await rejection(open(double.makeKey()).wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain(remedy);
    expect(error.cause).toBeUndefined();
    expect(shown(error)).not.toContain('plaintext"');
    expect(double.calls).toHaveLength(1);
  });

  it.each(['DISABLED', 'DESTROYED'] as const)('says that a version is gone: %s', async (state) => {
    const keyName = double.makeKey();
    const kms = open(keyName);
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.rotate(keyName);
    double.keys.get(keyName)![0]!.state = state;
    const error = await rejection(kms.unwrapKey(wrapped, BINDING));
    expect(error).toBeInstanceOf(KeyUnwrapError);
    expect(error.message).toContain('gcloud kms keys versions enable');
    expect(double.calls).toHaveLength(2);
  });

  it('reports the primary version as its health', async () => {
    const keyName = double.makeKey();
    const kms = open(keyName);
    expect(await kms.health()).toEqual({
      ...{ ok: true, reachable: true, authenticated: true },
      detail: `${keyName}, version 1`,
      kekVersion: '1',
      kekCreatedAt: new Date('2023-11-14T22:13:20Z'),
    });
    expect(double.calls).toHaveLength(1);
    double.keys.get(keyName)![0]!.state = 'DISABLED';
    expect(await kms.health()).toMatchObject({ ok: false, mayWrap: false });
    expect(await open(`${KEY_RING}/cryptoKeys/missing`).health()).toMatchObject({ ok: false });
  });

  it('is well where it may not look at the key, and says that its state is not known', async () => {
    const kms = open(double.makeKey());
    await kms.wrapKey(KEY, BINDING);
    double.fail({ code: status.PERMISSION_DENIED, times: 1 });
    const health = await kms.health();
    expect(health).toMatchObject({ ok: true, authenticated: true, mayWrap: true });
    expect(health.detail).toContain('cloudkms.cryptoKeys.get');
  });

  it.each([
    ['UNAUTHENTICATED', status.UNAUTHENTICATED, { reachable: true, authenticated: false }],
    ['UNAVAILABLE', status.UNAVAILABLE, { reachable: false, authenticated: undefined }],
  ])('tells by %s what answers and what is accepted', async (_, code, known) => {
    double.fail({ code, times: 10 });
    const { ok, reachable, authenticated } = await open(double.makeKey()).health();
    expect({ ok, reachable, authenticated }).toEqual({ ok: false, ...known });
  });

  it('names the permission that is missing', async () => {
    const kms = open(double.makeKey());
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.fail({ code: status.PERMISSION_DENIED, times: 1 });
    expect((await rejection(kms.unwrapKey(wrapped, BINDING))).message).toContain('useToDecrypt');
    expect(await kms.health()).toMatchObject({ mayWrap: true, mayUnwrap: false });
  });

  it.each<[string, object]>([
    ['keyName must be', { keyName: 'kek' }],
    ['keyName must be', { keyName: `${KEY_RING}/cryptoKeys/kek/cryptoKeyVersions/1` }],
    ['client must be', { keyName: `${KEY_RING}/cryptoKeys/kek`, client: {} }],
    ['there is no option keyId', { keyId: 'kek' }],
  ])('refuses options by name: %s', (message, options) => {
    const make = () => gcpKms(options as GcpKmsOptions);
    expect(make).toThrow(ConfigurationError);
    expect(make).toThrow(message);
  });

  it('says what to install where the SDK is not', async () => {
    const options = parseOptions({ keyName: `${KEY_RING}/cryptoKeys/kek` });
    const missing = new GcpClient(options, new RemoteCalls('gcpKms', options.limits), () => {
      throw new Error('Cannot find module');
    });
    const error = await rejection(missing.call('describe', () => Promise.resolve()));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('npm install @google-cloud/kms');
  });
});
