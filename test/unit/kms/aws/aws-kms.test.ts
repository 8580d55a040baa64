import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { KMSClient } from '@aws-sdk/client-kms';

import { ConfigurationError, KeyUnwrapError, KmsUnavailableError } from '../../../../src/errors';
import type { AwsKmsOptions } from '../../../../src/kms/aws';
import { awsKms } from '../../../../src/kms/aws';
import { AwsClient } from '../../../../src/kms/aws/aws-client';
import { parseOptions } from '../../../../src/kms/aws/options';
import type { KmsProvider } from '../../../../src/kms/kms-provider';
import { RemoteCalls } from '../../../../src/kms/remote/remote-calls';
import { kmsProviderContract } from '../../../contract/kms-provider.contract';
import type { AwsDoubleKey } from '../../../support/aws-double';
import { arn, AwsDouble, exception, SECRET_ACCESS_KEY } from '../../../support/aws-double';
import type { Fault } from '../../../support/http-double';
import { BINDING, KEY, rejection, shown } from '../../../support/remote-kms';

const double = new AwsDouble();
const opened: KmsProvider[] = [];

beforeAll(() => double.http.start());
afterAll(() => double.http.stop());

beforeEach(() => {
  double.http.calls.length = 0;
  double.http.mend();
});

afterEach(async () => {
  for (const kms of opened.splice(0)) await kms.close?.();
});

function open(key: AwsDoubleKey, options: Partial<AwsKmsOptions> = {}): KmsProvider {
  const client = new KMSClient({
    region: 'eu-west-1',
    endpoint: double.endpoint,
    maxAttempts: 1,
    credentials: { accessKeyId: 'clinic', secretAccessKey: SECRET_ACCESS_KEY },
  });
  const kms = awsKms({
    keyId: arn(key),
    client,
    timeoutMs: 1000,
    totalTimeoutMs: 5000,
    ...options,
  });
  opened.push(kms);
  return kms;
}

describe('awsKms on a double keeps the provider contract', () => {
  kmsProviderContract(() => {
    const [kms, stranger] = [open(double.makeKey()), open(double.makeKey())];
    return Promise.resolve({
      kms,
      stranger,
      secrets: [SECRET_ACCESS_KEY],
      close: () => Promise.resolve(),
    });
  });
});

const { AWS_KMS_KEY_ID: realKey, AWS_KMS_OTHER_KEY_ID: otherKey } = process.env;

if (realKey === undefined || otherKey === undefined) {
  it.skip('awsKms on AWS keeps the provider contract (not here: AWS_KMS_KEY_ID and AWS_KMS_OTHER_KEY_ID are not set)', () => {});
} else {
  describe('awsKms on AWS keeps the provider contract', () => {
    kmsProviderContract(() => {
      const [kms, stranger] = [awsKms({ keyId: realKey }), awsKms({ keyId: otherKey })];
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

describe('awsKms', () => {
  const bodies = (): Record<string, unknown>[] =>
    double.http.calls.map(({ body }) => JSON.parse(body) as Record<string, unknown>);

  it('passes key and encryption context with every call', async () => {
    const key = double.makeKey();
    const kms = open(key);
    const wrapped = await kms.wrapKey(KEY, BINDING);
    await kms.unwrapKey(wrapped, BINDING);
    expect(wrapped.kek).toBe(`aws-kms:${arn(key)}`);
    for (const body of bodies()) {
      expect(body).toMatchObject({
        KeyId: arn(key),
        EncryptionContext: {
          library: 'typeorm-field-encryption/v1/aws-kek',
          application: 'clinic',
          'key-id': '0123456789abcdef',
          'key-name': 'default',
          purpose: 'data',
        },
      });
    }
  });

  it.each([
    ['an id', (key: AwsDoubleKey) => key.id],
    [
      'an alias',
      (key: AwsDoubleKey) => (double.aliases.set('alias/clinic', key.id), 'alias/clinic'),
    ],
  ])('takes %s for a key', async (_, keyId) => {
    const key = double.makeKey();
    const kms = open(key, { keyId: keyId(key) });
    const wrapped = await kms.wrapKey(KEY, BINDING);
    expect(wrapped.kek).toBe(`aws-kms:${arn(key)}`);
    expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
  });

  it('refuses what an alias unwraps once it was moved to another key', async () => {
    const key = double.makeKey();
    double.aliases.set('alias/moved', key.id);
    const kms = open(key, { keyId: 'alias/moved' });
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.aliases.set('alias/moved', double.makeKey().id);
    const error = await rejection(kms.unwrapKey(wrapped, BINDING));
    expect(error).toBeInstanceOf(KeyUnwrapError);
    expect(error.message).toContain('alias');
  });

  it('refuses an answer of another key', async () => {
    const key = double.makeKey();
    const kms = open(key);
    const other = arn(double.makeKey());
    const change: Fault['change'] = (answer) => ({
      ...answer,
      body: { ...(answer.body as object), KeyId: other },
    });
    const wrapped = await kms.wrapKey(KEY, BINDING);
    double.http.fail({ change });
    expect(await rejection(kms.unwrapKey(wrapped, BINDING))).toBeInstanceOf(KeyUnwrapError);
    double.http.fail({ change });
    expect(await rejection(kms.wrapKey(KEY, BINDING))).toBeInstanceOf(ConfigurationError);
    const withoutKeyId = { status: 200, body: { Plaintext: KEY.toString('base64') } };
    double.http.fail(withoutKeyId);
    expect(await rejection(kms.unwrapKey(wrapped, BINDING))).toBeInstanceOf(KeyUnwrapError);
  });

  it.each([16, 31, 33])('refuses a key of %i bytes', async (bytes) => {
    const key = double.makeKey();
    const kms = open(key);
    const wrapped = await kms.wrapKey(KEY, BINDING);
    const Plaintext = Buffer.alloc(bytes).toString('base64');
    double.http.fail({ status: 200, body: { KeyId: arn(key), Plaintext } });
    expect(await rejection(kms.unwrapKey(wrapped, BINDING))).toBeInstanceOf(KeyUnwrapError);
  });

  it.each<[string, Fault]>([
    ['ThrottlingException', exception('ThrottlingException')],
    ['KMSInternalException', exception('KMSInternalException', 500)],
    ['DependencyTimeoutException', exception('DependencyTimeoutException', 500)],
    ['KeyUnavailableException', exception('KeyUnavailableException', 500)],
    ['status 503 without a body', { status: 503, body: '' }],
    ['a reset connection', { cut: 'before' }],
    ['a try without an answer', { hang: true }],
  ])('tries again after %s, and gives up after three tries', async (_, fault) => {
    const kms = open(double.makeKey());
    double.http.fail(fault);
    await expect(kms.wrapKey(KEY, BINDING)).resolves.toBeDefined();
    expect(double.http.calls).toHaveLength(2);
    double.http.fail({ ...fault, times: 100 });
    const error = await rejection(kms.wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(KmsUnavailableError);
    expect(error.retryable).toBe(true);
    expect(double.http.calls).toHaveLength(5);
  });

  it.each([
    ['AccessDeniedException', 'Allow kms:Encrypt on the key'],
    ['NotFoundException', 'no such key'],
    ['DisabledException', 'enable-key'],
    ['KMSInvalidStateException', 'cancel-key-deletion'],
    ['InvalidKeyUsageException', 'symmetric'],
    ['ExpiredTokenException', 'expired'],
    ['UnrecognizedClientException', 'not known'],
    ['InvalidSignatureException', 'clock'],
    ['SomethingNewException', 'SomethingNewException'],
  ])('takes %s as final, and says what to do', async (name, remedy) => {
    const kms = open(double.makeKey());
    double.http.fail(exception(name));
    const error = await rejection(kms.wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain(remedy);
    expect(error.retryable).toBe(false);
    expect(double.http.calls).toHaveLength(1);
  });

  it.each<[string, Fault]>([
    ['a page', { status: 200, body: '<html>' }],
    ['an empty object', { status: 200, body: {} }],
  ])('refuses %s for an answer', async (_, fault) => {
    const kms = open(double.makeKey());
    double.http.fail(fault);
    expect(await rejection(kms.wrapKey(KEY, BINDING))).toBeInstanceOf(ConfigurationError);
  });

  it('shows no key and no credentials, even if the service repeats them', async () => {
    const kms = open(double.makeKey());
    const secrets = [KEY.toString('base64'), SECRET_ACCESS_KEY];
    const message = secrets.join();
    for (const status of [200, 400, 403, 500]) {
      double.http.fail({ status, body: { __type: 'AccessDeniedException', message }, times: 3 });
      const error = await rejection(kms.wrapKey(KEY, BINDING));
      for (const secret of secrets) expect(shown(error)).not.toContain(secret);
      expect(error.cause).toBeUndefined();
      double.http.mend();
    }
  });

  it('reports the state of the key as its health', async () => {
    const key = double.makeKey();
    const kms = open(key);
    expect(await kms.health()).toEqual({
      ...{ ok: true, reachable: true, authenticated: true },
      detail: `${arn(key)}, enabled`,
      kekCreatedAt: new Date('2023-11-14T22:13:20Z'),
    });
    expect(double.http.calls).toHaveLength(1);
    key.state = 'PendingDeletion';
    expect(await kms.health()).toMatchObject({ ok: false, mayWrap: false, mayUnwrap: false });
    expect((await kms.health()).detail).toContain('PendingDeletion');
    double.keys.delete(key.id);
    expect((await kms.health()).detail).toContain('no such key');
  });

  it('is well where it may not look at the key, and says that its state is not known', async () => {
    const kms = open(double.makeKey());
    const wrapped = await kms.wrapKey(KEY, BINDING);
    await kms.unwrapKey(wrapped, BINDING);
    double.http.fail({ ...exception('AccessDeniedException'), times: 1 });
    const health = await kms.health();
    expect(health).toMatchObject({ ok: true, reachable: true, authenticated: true });
    expect(health).toMatchObject({ mayWrap: true, mayUnwrap: true });
    expect(health.detail).toContain('kms:DescribeKey');
    expect(health).not.toHaveProperty('kekCreatedAt');
  });

  it('names the right that is missing, and says so of its health until it is granted', async () => {
    const kms = open(double.makeKey());
    double.http.fail({ ...exception('AccessDeniedException'), times: 1 });
    const error = await rejection(kms.wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('kms:Encrypt');
    expect(error.message).not.toContain('kms:Decrypt');
    expect(await kms.health()).toMatchObject({ ok: true, mayWrap: false });
    await kms.wrapKey(KEY, BINDING);
    expect(await kms.health()).toMatchObject({ ok: true, mayWrap: true });
  });

  it.each([
    ['ExpiredTokenException', { reachable: true, authenticated: false }],
    ['KMSInternalException', { reachable: true, authenticated: undefined }],
  ])('tells by %s what answers and what is accepted', async (name, known) => {
    const kms = open(double.makeKey());
    double.http.fail({ ...exception(name, name.startsWith('KMS') ? 500 : 400), times: 10 });
    const { reachable, authenticated, ok } = await kms.health();
    expect({ ok, reachable, authenticated }).toEqual({ ok: false, ...known });
  });

  it.each<[string, object]>([
    ['keyId must be', { keyId: '' }],
    ['keyId must be', { keyId: 'https://kms' }],
    ['there is no option key', { keyId: 'alias/clinic', key: 'a' }],
    ['region must be', { keyId: 'alias/clinic', region: '' }],
    ['endpoint must be', { keyId: 'alias/clinic', endpoint: 'kms' }],
    ['client must be', { keyId: 'alias/clinic', client: {} }],
    ['a client of your own', { keyId: 'alias/clinic', client: new KMSClient({}), region: 'a' }],
  ])('refuses options by name: %s', (message, options) => {
    const make = () => awsKms(options as AwsKmsOptions);
    expect(make).toThrow(ConfigurationError);
    expect(make).toThrow(message);
  });

  it('finds the region in the ARN, for a client of its own', () => {
    const keyId = 'arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
    expect(parseOptions({ keyId }).settings).toEqual({ region: 'eu-west-1' });
    expect(parseOptions({ keyId, region: 'us-east-1' }).settings).toEqual({ region: 'us-east-1' });
  });

  it('goes to its endpoint with the credentials of the environment', async () => {
    Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'clinic', AWS_SECRET_ACCESS_KEY: 'canary' });
    const kms = awsKms({ keyId: arn(double.makeKey()), endpoint: double.endpoint });
    try {
      expect(await kms.health()).toMatchObject({ ok: true });
    } finally {
      Reflect.deleteProperty(process.env, 'AWS_ACCESS_KEY_ID');
      Reflect.deleteProperty(process.env, 'AWS_SECRET_ACCESS_KEY');
      await kms.close?.();
    }
  });

  it('says that there is no region', async () => {
    for (const name of ['AWS_REGION', 'AWS_DEFAULT_REGION']) {
      Reflect.deleteProperty(process.env, name);
    }
    const error = await rejection(awsKms({ keyId: 'alias/clinic' }).wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('there is no region');
  });

  it('says what to install where the SDK is not', async () => {
    const options = parseOptions({ keyId: 'alias/clinic' });
    const client = new AwsClient(options, new RemoteCalls('awsKms', options.limits), () => {
      throw new Error('Cannot find module');
    });
    const error = await rejection(client.describeKey({ KeyId: 'alias/clinic' }));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('npm install @aws-sdk/client-kms');
  });
});

describe('awsKms with the credentials of a file', () => {
  it('reads the file again when they are refused, once a call', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'field-encryption-aws-'));
    const path = join(folder, 'credentials');
    const write = (id: string): void => {
      writeFileSync(
        path,
        `[default]\naws_access_key_id=${id}\naws_secret_access_key=${SECRET_ACCESS_KEY}\n`,
      );
    };
    const kept = { ...process.env };
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_PROFILE']) {
      Reflect.deleteProperty(process.env, name);
    }
    Object.assign(process.env, {
      AWS_SHARED_CREDENTIALS_FILE: path,
      AWS_CONFIG_FILE: join(folder, 'none'),
      AWS_EC2_METADATA_DISABLED: 'true',
    });
    const kms = awsKms({
      keyId: arn(double.makeKey()),
      endpoint: double.endpoint,
      timeoutMs: 1000,
      totalTimeoutMs: 3000,
    });
    opened.push(kms);
    const users = (): string[] =>
      double.http.calls.map(
        ({ headers }) => /Credential=(\w+)/.exec(String(headers.authorization))?.[1] ?? '',
      );
    try {
      write('FIRST');
      await kms.wrapKey(KEY, BINDING);
      write('SECOND');
      double.http.fail({ times: 1, ...exception('ExpiredTokenException') });
      await kms.wrapKey(KEY, BINDING);
      expect(users()).toEqual(['FIRST', 'FIRST', 'SECOND']);

      double.http.fail({ times: 2, ...exception('ExpiredTokenException') });
      const error = await rejection(kms.wrapKey(KEY, BINDING));
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(users()).toHaveLength(5);
    } finally {
      process.env = kept;
      rmSync(folder, { recursive: true });
    }
  });
});
