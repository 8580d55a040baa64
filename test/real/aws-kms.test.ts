import {
  CreateAliasCommand,
  CreateKeyCommand,
  DeleteAliasCommand,
  DisableKeyCommand,
  KMSClient,
  RotateKeyOnDemandCommand,
  ScheduleKeyDeletionCommand,
  UpdateAliasCommand,
} from '@aws-sdk/client-kms';

import { ConfigurationError, KeyUnwrapError } from '../../src';
import type { KmsProvider } from '../../src';
import { awsKms } from '../../src/kms/aws';
import { kmsProviderContract } from '../contract/kms-provider.contract';
import { BINDING, KEY, rejection } from '../support/remote-kms';
import { kmsStory } from './kms-story';
import { describeServer } from './servers/availability';
import { MOTO, Moto } from './servers/moto';

const SECRET = 'moto-knows-no-secrets';

describeServer(MOTO, 'awsKms', (command) => {
  let server: Moto;
  let admin: KMSClient;
  const opened: KmsProvider[] = [];

  beforeAll(async () => {
    server = await Moto.start(command);
    admin = client();
  });
  afterEach(async () => {
    for (const kms of opened.splice(0)) await kms.close?.();
  });
  afterAll(async () => {
    admin.destroy();
    await server.process.kill();
  });

  function client(): KMSClient {
    return new KMSClient({
      region: 'eu-west-1',
      endpoint: server.endpoint,
      maxAttempts: 1,
      credentials: { accessKeyId: 'clinic', secretAccessKey: SECRET },
    });
  }

  async function makeKey(): Promise<string> {
    const { KeyMetadata: key } = await admin.send(new CreateKeyCommand({}));
    return key?.Arn ?? '';
  }

  function open(keyId: string): KmsProvider {
    const kms = awsKms({ keyId, client: client(), timeoutMs: 2000, totalTimeoutMs: 5000 });
    opened.push(kms);
    return kms;
  }

  describe('keeps the provider contract', () => {
    kmsProviderContract(async () => ({
      kms: open(await makeKey()),
      stranger: open(await makeKey()),
      authenticatesBinding: true,
      secrets: [SECRET],
      close: () => Promise.resolve(),
    }));
  });

  it('wraps and unwraps by an alias, and refuses what an alias left behind when it was moved', async () => {
    const [first, second] = [await makeKey(), await makeKey()];
    await admin.send(new CreateAliasCommand({ AliasName: 'alias/moves', TargetKeyId: first }));
    const kms = open('alias/moves');
    const wrapped = await kms.wrapKey(KEY, BINDING);
    expect(wrapped.kek).toBe(`aws-kms:${first}`);
    expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
    await admin.send(new UpdateAliasCommand({ AliasName: 'alias/moves', TargetKeyId: second }));
    expect(await rejection(kms.unwrapKey(wrapped, BINDING))).toBeInstanceOf(KeyUnwrapError);
  });

  it.each([
    ['Disabled', (KeyId: string) => new DisableKeyCommand({ KeyId })],
    ['PendingDeletion', (KeyId: string) => new ScheduleKeyDeletionCommand({ KeyId })],
  ])('reports the health of a key that is %s', async (state, command) => {
    const keyId = await makeKey();
    await admin.send(command(keyId.split('/').at(-1) ?? ''));
    expect(await open(keyId).health()).toMatchObject({
      ok: false,
      detail: expect.stringContaining(state),
    });
  });

  it('names the key that is not there', async () => {
    const missing = (await makeKey()).replace(
      /[\da-f-]{36}$/,
      '00000000-0000-4000-8000-000000000000',
    );
    expect(await rejection(open(missing).wrapKey(KEY, BINDING))).toBeInstanceOf(ConfigurationError);
  });

  describe('through a life with an application', () => {
    kmsStory(async () => {
      const keyId = await makeKey();
      const alias = { AliasName: 'alias/story', TargetKeyId: keyId };
      await admin.send(new CreateAliasCommand(alias));
      return {
        open: () => open(alias.AliasName),
        namesVersions: false,
        rotateKek: async () => {
          await admin.send(new RotateKeyOnDemandCommand({ KeyId: keyId }));
        },
        revokeAccess: async () => {
          await admin.send(new DeleteAliasCommand(alias));
        },
        grantAccess: async () => {
          await admin.send(new CreateAliasCommand(alias));
        },
        cutOff: () => {
          server.process.freeze();
          return Promise.resolve();
        },
        bringBack: () => {
          server.process.thaw();
          return Promise.resolve();
        },
      };
    });
  });
});
