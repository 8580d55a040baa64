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
import { blocksOf, readPage } from '../support/documentation';
import { BINDING, KEY, rejection } from '../support/remote-kms';
import { kmsStory } from './kms-story';
import { describeServer } from './servers/availability';
import { MOTO, Moto } from './servers/moto';

const SECRET = 'moto-knows-no-secrets';

/** What the policy that the documentation prints allows. */
const ACTIONS = (
  JSON.parse(
    blocksOf(readPage('docs/aws-kms.md')).find(({ file }) => file === 'policy.json')?.content ?? '',
  ) as { Statement: { Action: string | string[] }[] }
).Statement.flatMap(({ Action }) => Action);

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

  function client(credentials = { accessKeyId: 'clinic', secretAccessKey: SECRET }): KMSClient {
    const { endpoint } = server;
    return new KMSClient({ region: 'eu-west-1', endpoint, maxAttempts: 1, credentials });
  }

  /** A provider with a key of its own, for a user who may do this and nothing else from now on. */
  async function asUser(actions: readonly string[]): Promise<KmsProvider> {
    const keyId = await makeKey();
    const kms = awsKms({ keyId, client: client(await server.makeUser(actions)) });
    await server.checkRights(true);
    opened.push(kms);
    return kms;
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
      ...{ ok: false, reachable: true, authenticated: true, mayWrap: false, mayUnwrap: false },
      detail: expect.stringContaining(state),
    });
  });

  it('tells the age of the key', async () => {
    const { kekCreatedAt } = await open(await makeKey()).health();
    expect(Math.abs(Date.now() - (kekCreatedAt?.getTime() ?? 0))).toBeLessThan(3_600_000);
  });

  describe('with the actions of the documented policy, to a user who has no others', () => {
    afterEach(() => server.checkRights(false));

    it('wraps, unwraps and tells its health', async () => {
      const kms = await asUser(ACTIONS);
      const wrapped = await kms.wrapKey(KEY, BINDING);
      expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
      expect(await kms.health()).toMatchObject({ ok: true, mayWrap: true, mayUnwrap: true });
    });

    it.each(ACTIONS)('needs %s', async (action) => {
      const kms = await asUser(ACTIONS.filter((each) => each !== action));
      const attempt = async () => {
        await kms.unwrapKey(await kms.wrapKey(KEY, BINDING), BINDING);
        if (!(await kms.health()).ok) throw new ConfigurationError('the key cannot be looked at');
      };
      expect(await rejection(attempt())).toBeInstanceOf(ConfigurationError);
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
