import { inspect } from 'node:util';

import * as pkcs11js from 'pkcs11js';

import { ConfigurationError, KmsUnavailableError } from '../../../../src/errors';
import type { WatchedModule } from '../../../support/pkcs11-faults';
import { failing, openWatched, watched } from '../../../support/pkcs11-faults';
import type { TokenAccess } from '../../../support/pkcs11-modules';
import { openKms, PIN, softHsm } from '../../../support/pkcs11-modules';
import { BINDING, describeOn, KEY, rejection } from '../../../support/pkcs11-suite';

const WRONG_PIN = 'canary-wrong-pin-4713';

describeOn(softHsm, 'The login', () => {
  let access: TokenAccess;
  let module: WatchedModule;

  beforeEach(() => {
    access = softHsm.token();
    module = watched(softHsm.admin());
  });

  const logins = (): number => module.calls.filter((call) => call === 'C_Login').length;
  const open = (pin: TokenAccess['pin']) =>
    openWatched({ ...access, pin, keyLabel: 'kek', createKey: true, sessions: 4 }, module);

  it('tries a wrong PIN once, for many callers, later calls and other providers', async () => {
    const kms = open(WRONG_PIN);
    const errors = await Promise.all(
      [1, 2, 3, 4, 5].map(() => rejection(kms.wrapKey(KEY, BINDING))),
    );
    errors.push(await rejection(kms.wrapKey(KEY, BINDING)));
    errors.push(await rejection(open(() => WRONG_PIN).wrapKey(KEY, BINDING)));

    expect(logins()).toBe(1);
    for (const error of errors) {
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error).toMatchObject({ name: 'ConfigurationError', retryable: false });
    }
    expect(errors[0]?.message).toContain('CKR_PIN_INCORRECT');
    expect(await kms.health()).toMatchObject({ ok: false, authenticated: false });
    expect(logins()).toBe(1);
    expect(inspect([errors, kms], { depth: 20, showHidden: true })).not.toContain(WRONG_PIN);
  });

  it('tries another PIN after a wrong one, when the function for it has one', async () => {
    const pins = [WRONG_PIN, PIN];
    const kms = open(() => pins.shift());

    await rejection(kms.wrapKey(KEY, BINDING));
    await kms.wrapKey(KEY, BINDING);

    expect(logins()).toBe(2);
    await kms.close?.();
  });

  it.each([
    ['locked', pkcs11js.CKF_USER_PIN_LOCKED],
    ['one try from being locked', pkcs11js.CKF_USER_PIN_FINAL_TRY],
  ])('does not try a PIN that is %s', async (_, flag) => {
    module.after.set('C_GetTokenInfo', (info: pkcs11js.TokenInfo) => ({
      ...info,
      flags: info.flags | flag,
    }));

    const error = await rejection(open(PIN).wrapKey(KEY, BINDING));

    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toMatch(/lock/);
    expect(logins()).toBe(0);
  });

  it('does not repeat a login of which it cannot know whether it counted', async () => {
    module.before.set('C_Login', [failing('CKR_DEVICE_ERROR', 0x30)]);

    expect(await rejection(open(PIN).wrapKey(KEY, BINDING))).toBeInstanceOf(KmsUnavailableError);
    expect(logins()).toBe(1);
  });

  it('asks for the PIN when it is needed and only then, and once for all threads', async () => {
    const pin = jest.fn(() => Promise.resolve(`${PIN}\n`));
    const kms = open(pin);
    expect(pin).not.toHaveBeenCalled();

    await Promise.all(Array.from({ length: 8 }, () => kms.wrapKey(KEY, BINDING)));

    expect(pin).toHaveBeenCalledTimes(1);
    expect(logins()).toBe(1);
    await kms.close?.();
  });

  it('joins a login of somebody else in the process', async () => {
    const first = open(PIN);
    await first.wrapKey(KEY, BINDING);
    module.before.set('C_GetSessionInfo', [failing('CKR_SESSION_HANDLE_INVALID', 0xb3)]);

    await open(PIN).wrapKey(KEY, BINDING);

    expect(logins()).toBe(1);
    await first.close?.();
  });

  it('says so when there is no PIN, or the function for it fails', async () => {
    const vaultIsAway = (): Promise<string> => Promise.reject(new Error(`no JSON: ${WRONG_PIN}`));

    expect(await rejection(open(() => undefined).wrapKey(KEY, BINDING))).toBeInstanceOf(
      ConfigurationError,
    );
    const failure = await rejection(open(vaultIsAway).wrapKey(KEY, BINDING));
    expect(failure).toMatchObject({ code: 'ERR_KMS_UNAVAILABLE', retryable: true });
    // It may hold what it was about to return.
    expect(inspect(failure, { depth: 9, showHidden: true })).not.toContain(WRONG_PIN);
    expect(logins()).toBe(0);
  });

  it('keeps a wrong PIN out of what its thread answers', async () => {
    const kms = openKms({ ...access, pin: WRONG_PIN, keyLabel: 'kek' });

    const error = await rejection(kms.wrapKey(KEY, BINDING));

    expect(error.message).toContain('CKR_PIN_INCORRECT');
    expect(inspect([error, kms], { depth: 20, showHidden: true })).not.toContain(WRONG_PIN);
    await kms.close?.();
  });
});
