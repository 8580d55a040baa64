import * as pkcs11js from 'pkcs11js';

import { ConfigurationError, KeyUnwrapError, KmsUnavailableError } from '../../../../src/errors';
import type { Pkcs11Kms } from '../../../../src/kms/pkcs11';
import type { WatchedModule } from '../../../support/pkcs11-faults';
import { failing, openWatched, watched } from '../../../support/pkcs11-faults';
import type { TokenAccess } from '../../../support/pkcs11-modules';
import { asUser, nss, openKms, slotOf, softHsm } from '../../../support/pkcs11-modules';
import { BINDING, describeOn, KEY, rejection } from '../../../support/pkcs11-suite';

const OPTIONS = { keyLabel: 'recovery', createKey: true };

function destroyKeys(access: TokenAccess, label: string): void {
  const admin = softHsm.admin();
  asUser(admin, access, (session) => {
    for (const key of keysOf(session, label)) admin.C_DestroyObject(session, key);
  });
}

function keysOf(session: Buffer, label: string): Buffer[] {
  const admin = softHsm.admin();
  admin.C_FindObjectsInit(session, [{ type: pkcs11js.CKA_LABEL, value: label }]);
  const keys = admin.C_FindObjects(session, 16);
  admin.C_FindObjectsFinal(session);
  return keys;
}

/** How many keys, and locks that guard their making, are on the token. */
function keysAndLocks(access: TokenAccess, label: string): [number, number] {
  let counts: [number, number] = [0, 0];
  asUser(softHsm.admin(), access, (session) => {
    counts = [keysOf(session, label).length, keysOf(session, `${label}.lock`).length];
  });
  return counts;
}

for (const module of [softHsm, nss]) {
  describeOn(module, 'pkcs11Kms in its threads', () => {
    it('recovers when all sessions are closed underneath it', async () => {
      const access = module.token();
      const kms = openKms({ ...access, ...OPTIONS });
      const wrapped = await kms.wrapKey(KEY, BINDING);
      await Promise.all([1, 2, 3, 4].map(() => kms.unwrapKey(wrapped, BINDING)));

      for (let round = 0; round < 3; round++) {
        module.admin().C_CloseAllSessions(slotOf(module.admin(), access.token.label));
        const unwrapped = await Promise.all(
          [1, 2, 3, 4].map(() => kms.unwrapKey(wrapped, BINDING)),
        );
        expect(unwrapped.map((key) => Buffer.from(key))).toEqual([KEY, KEY, KEY, KEY]);
      }
      await kms.close?.();
    });

    it('unwraps after a restart with the same token', async () => {
      const access = module.token();
      const before = openKms({ ...access, ...OPTIONS });
      const wrapped = await before.wrapKey(KEY, BINDING);
      await before.close?.();

      const after = openKms({ ...access, ...OPTIONS, createKey: false });
      expect(Buffer.from(await after.unwrapKey(wrapped, BINDING))).toEqual(KEY);
      await after.close?.();
      expect(Buffer.from(await after.unwrapKey(wrapped, BINDING))).toEqual(KEY);
      await after.close?.();
    });
  });
}

/** A call that goes through, before one that does not. */
const nothing = (): void => undefined;

describeOn(softHsm, 'pkcs11Kms', () => {
  let access: TokenAccess;
  let module: WatchedModule;
  let kms: Pkcs11Kms;

  beforeEach(() => {
    access = softHsm.token();
    module = watched(softHsm.admin());
    kms = openWatched({ ...access, ...OPTIONS, sessions: 1 }, module);
  });

  afterEach(async () => {
    await kms.close?.();
  });

  const opened = (): number => module.calls.filter((call) => call === 'C_OpenSession').length;

  it.each([
    ['CKR_SESSION_HANDLE_INVALID', 0xb3],
    ['CKR_SESSION_CLOSED', 0xb0],
    ['CKR_DEVICE_REMOVED', 0x32],
    ['CKR_OBJECT_HANDLE_INVALID', 0x82],
    ['CKR_KEY_HANDLE_INVALID', 0x60],
    ['CKR_USER_NOT_LOGGED_IN', 0x101],
    ['CKR_OPERATION_ACTIVE', 0x90],
  ])('tries again on a new session after %s', async (name, code) => {
    const wrapped = await kms.wrapKey(KEY, BINDING);
    const openedBefore = opened();

    module.before.set('C_DecryptInit', [failing(name, code)]);
    expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
    expect(opened()).toBe(openedBefore + 1);

    module.before.set(
      'C_DecryptInit',
      Array.from({ length: 5 }, () => failing(name, code)),
    );
    const error = await rejection(kms.unwrapKey(wrapped, BINDING));
    expect(error).toBeInstanceOf(KmsUnavailableError);
    expect(error.message).toContain(name);

    expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
  });

  it('tries again for failures of several kinds, one after the other', async () => {
    await kms.wrapKey(KEY, BINDING);
    module.before.set('C_EncryptInit', [
      failing('CKR_OBJECT_HANDLE_INVALID', 0x82),
      failing('CKR_KEY_FUNCTION_NOT_PERMITTED', 0x68),
      failing('CKR_GENERAL_ERROR', 5),
      failing('CKR_SESSION_CLOSED', 0xb0),
    ]);

    await kms.wrapKey(KEY, BINDING);
  });

  it('makes no second KEK where the token does not say whether it has made the first', async () => {
    module.before.set('C_GenerateKey', [nothing, failing('CKR_DEVICE_ERROR', 0x30)]);

    const error = await rejection(kms.wrapKey(KEY, BINDING));

    expect(error).toMatchObject({ code: 'ERR_KMS_UNAVAILABLE', retryable: true });
    expect(error.message).toContain('CKR_DEVICE_ERROR');
    expect(module.calls.filter((call) => call === 'C_GenerateKey')).toHaveLength(2);
    expect(keysAndLocks(access, OPTIONS.keyLabel)).toEqual([0, 0]);
    await kms.wrapKey(KEY, BINDING);
    expect(keysAndLocks(access, OPTIONS.keyLabel)).toEqual([1, 0]);
  });

  it('makes the KEK at a second attempt when the first one came to nothing', async () => {
    module.before.set('C_GenerateKey', [nothing, failing('CKR_GENERAL_ERROR', 5)]);

    await kms.wrapKey(KEY, BINDING);

    expect(keysAndLocks(access, OPTIONS.keyLabel)).toEqual([1, 0]);
  });

  it('leaves no lock behind when it is not deleted at the first attempt', async () => {
    module.before.set('C_DestroyObject', [
      failing('CKR_GENERAL_ERROR', 5),
      failing('CKR_SESSION_HANDLE_INVALID', 0xb3),
    ]);

    await kms.wrapKey(KEY, BINDING);

    expect(keysAndLocks(access, OPTIONS.keyLabel)).toEqual([1, 0]);
  });

  it('throws a session away that an odd error has poisoned', async () => {
    const wrapped = await kms.wrapKey(KEY, BINDING);
    const poison = (session: unknown, mechanism: unknown, key: unknown): void => {
      const admin = softHsm.admin();
      admin.C_EncryptInit(session as Buffer, mechanism as pkcs11js.Mechanism, key as Buffer);
      expect(() => admin.C_Encrypt(session as Buffer, Buffer.alloc(0), Buffer.alloc(16))).toThrow(
        'CKR_ARGUMENTS_BAD',
      );
    };
    module.before.set('C_EncryptInit', [poison]);

    await kms.wrapKey(KEY, BINDING);

    expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
  });

  it('throws a session away after an error that nobody has heard of, and goes on', async () => {
    await kms.wrapKey(KEY, BINDING);
    const openedBefore = opened();
    const odd = failing('CKR_VENDOR_DEFINED', 0x80000123);
    module.before.set('C_Encrypt', [odd, odd]);

    const error = await rejection(kms.wrapKey(KEY, BINDING));

    expect(error).toMatchObject({ code: 'ERR_KMS_UNAVAILABLE', retryable: true });
    await kms.wrapKey(KEY, BINDING);
    expect(opened()).toBe(openedBefore + 2);
  });

  it('tells a changed key from a broken device, though both answer CKR_GENERAL_ERROR', async () => {
    const { kek, wrapped } = await kms.wrapKey(KEY, BINDING);
    const changed = Uint8Array.from(wrapped);
    changed[40] = (changed[40] ?? 0) ^ 1;
    const broken = failing('CKR_GENERAL_ERROR', 5);

    expect(await rejection(kms.unwrapKey({ kek, wrapped: changed }, BINDING))).toBeInstanceOf(
      KeyUnwrapError,
    );
    module.before.set('C_Decrypt', [broken, broken, broken]);
    expect(await rejection(kms.unwrapKey({ kek, wrapped }, BINDING))).toBeInstanceOf(
      KmsUnavailableError,
    );
    module.before.set('C_Decrypt', [broken, broken]);
    expect(Buffer.from(await kms.unwrapKey({ kek, wrapped }, BINDING))).toEqual(KEY);
  });

  it('tells a key that CKR_DEVICE_ERROR is said of from a device that fails', async () => {
    const wrapped = await kms.wrapKey(KEY, BINDING);
    const broken = failing('CKR_DEVICE_ERROR', 0x30);
    const tries = Array.from({ length: 5 }, () => broken);
    const unwrapping = async (...faults: (() => void)[]): Promise<unknown> => {
      module.before.set('C_Decrypt', faults);
      return kms.unwrapKey(wrapped, BINDING);
    };
    expect(await unwrapping(broken)).toEqual(Uint8Array.from(KEY));
    // The KEK unwraps a key of no importance before and after this one fails.
    const damaged = await rejection(unwrapping(...tries, nothing, broken, nothing));
    expect(damaged).toBeInstanceOf(KeyUnwrapError);
    for (const faults of [
      [...tries, broken],
      [...tries, nothing, broken, broken],
    ]) {
      const error = await rejection(unwrapping(...faults));
      expect(error).toBeInstanceOf(KmsUnavailableError);
      expect(error.message).toContain('CKR_DEVICE_ERROR');
    }
    expect(await unwrapping()).toEqual(Uint8Array.from(KEY));
  });

  it('initialises the module again that somebody has finalized', async () => {
    const wrapped = await kms.wrapKey(KEY, BINDING);
    softHsm.admin().C_Finalize();

    expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
    expect(module.calls).not.toContain('C_Finalize');
  });

  it('names the KEK that somebody has deleted, and makes no other in its place', async () => {
    const { kek, wrapped } = await kms.wrapKey(KEY, BINDING);
    destroyKeys(access, OPTIONS.keyLabel);
    module.calls.length = 0;

    const unwrapping = await rejection(kms.unwrapKey({ kek, wrapped }, BINDING));
    expect(unwrapping).toBeInstanceOf(KeyUnwrapError);
    expect(unwrapping.message).toContain(`"${OPTIONS.keyLabel}" is not on the token`);
    const wrapping = await rejection(kms.wrapKey(KEY, BINDING));
    expect(wrapping).toBeInstanceOf(ConfigurationError);
    expect(module.calls).not.toContain('C_GenerateKey');
    expect(await kms.health()).toMatchObject({
      ok: false,
      detail: expect.stringContaining('no key'),
    });
  });

  it('keeps an anchor, so that a discarded session logs nobody out', async () => {
    await kms.wrapKey(KEY, BINDING);
    module.before.set('C_Encrypt', [failing('CKR_GENERAL_ERROR', 5)]);

    await kms.wrapKey(KEY, BINDING);

    expect(module.calls.filter((call) => call === 'C_Login')).toHaveLength(1);
  });

  it('leaves no session open when it is closed', async () => {
    const count = (name: string): number => module.calls.filter((call) => call === name).length;
    await kms.wrapKey(KEY, BINDING);
    await kms.wrapKey(KEY, BINDING);
    await kms.close?.();

    expect(count('C_OpenSession')).toBeGreaterThan(1);
    expect(count('C_CloseSession')).toBe(count('C_OpenSession'));
  });
});
