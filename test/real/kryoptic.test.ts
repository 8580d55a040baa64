import { randomBytes } from 'node:crypto';

import type { KeyWrapName } from '../../src/kms/pkcs11/key-wrap';
import type { Pkcs11Kms } from '../../src/kms/pkcs11';
import { kmsProviderContract } from '../contract/kms-provider.contract';
import { openKms, PIN } from '../support/pkcs11-modules';
import type { TestModule, TokenAccess } from '../support/pkcs11-modules';
import { BINDING, KEY, rejection } from '../support/remote-kms';
import { describeServer } from './servers/availability';
import { KRYOPTIC, kryopticModule } from './servers/kryoptic';

const MECHANISMS: readonly KeyWrapName[] = ['aes-gcm', 'aes-key-wrap'];

describeServer(KRYOPTIC, 'pkcs11Kms', (library) => {
  let module: TestModule;
  let access: TokenAccess;
  const opened: Pkcs11Kms[] = [];

  beforeAll(async () => {
    module = kryopticModule(library);
    await module.start();
    access = module.token();
  });
  afterEach(async () => {
    for (const kms of opened.splice(0)) await kms.close?.();
  });

  function open(
    mechanism: KeyWrapName,
    keyLabel = `kek-${randomBytes(6).toString('hex')}`,
  ): Pkcs11Kms {
    const kms = openKms({ ...access, keyLabel, createKey: true, mechanism, sessions: 1 });
    opened.push(kms);
    return kms;
  }

  describe.each(MECHANISMS)('by %s keeps the provider contract', (mechanism) => {
    kmsProviderContract(async () => {
      const [kms, stranger] = [open(mechanism), open(mechanism)];
      await kms.rotateKek();
      await stranger.rotateKek();
      return {
        ...{ kms, stranger, secrets: [PIN] },
        close: () => Promise.resolve(),
      };
    });
  });

  it('wraps under the next version of the KEK, unwraps what older ones wrapped, and names them', async () => {
    const kms = open('aes-gcm', 'kek-rotated');
    const first = await kms.wrapKey(KEY, BINDING);
    expect(await kms.health()).toMatchObject({ ok: true, kekVersion: '1' });
    await kms.rotateKek();
    const second = await kms.wrapKey(KEY, BINDING);
    expect(second.kek).toContain('object=kek-rotated.v2');
    for (const wrapped of [first, second]) {
      expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
    }
    expect(await kms.health()).toMatchObject({ ok: true, kekVersion: '2' });
  });

  it('tries a wrong PIN once, and says so of its health', async () => {
    const token = module.token();
    const kms = openKms({ ...token, pin: 'canary-wrong-pin', keyLabel: 'kek', sessions: 1 });
    opened.push(kms);
    expect((await rejection(kms.wrapKey(KEY, BINDING))).message).toContain('CKR_PIN_INCORRECT');
    expect(await kms.health()).toMatchObject({ ok: false, authenticated: false });
    expect((await rejection(kms.wrapKey(KEY, BINDING))).message).toContain('not tried again');
  });
});
