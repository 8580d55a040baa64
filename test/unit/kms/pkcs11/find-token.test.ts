import type * as pkcs11js from 'pkcs11js';

import { ConfigurationError, KmsUnavailableError } from '../../../../src/errors';
import type { Pkcs11KmsOptions } from '../../../../src/kms/pkcs11';
import { failing, openWatched, watched } from '../../../support/pkcs11-faults';
import { makeToken, PIN, slotOf, softHsm } from '../../../support/pkcs11-modules';
import { BINDING, describeOn, KEY, rejection } from '../../../support/pkcs11-suite';

describeOn(softHsm, 'The token', () => {
  const open = (token: Pkcs11KmsOptions['token'], module = watched(softHsm.admin())) =>
    openWatched(
      { library: softHsm.library, token, pin: PIN, keyLabel: 'kek', createKey: true },
      module,
    );

  it('is found by label, by serial number, and by both', async () => {
    const { label = '' } = softHsm.token().token;
    const { serialNumber } = softHsm.admin().C_GetTokenInfo(slotOf(softHsm.admin(), label));
    const serial = serialNumber.trim();
    const byLabel = open({ label });
    const wrapped = await byLabel.wrapKey(KEY, BINDING);

    expect(wrapped.kek).toContain(`serial=${serial};`);
    for (const token of [{ serial }, { label, serial }]) {
      const kms = open(token);
      expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
      await kms.close?.();
    }
    expect(await rejection(open({ label, serial: 'ffff' }).wrapKey(KEY, BINDING))).toBeInstanceOf(
      ConfigurationError,
    );
    await byLabel.close?.();
  });

  it('is missed by name, with those that are there', async () => {
    const { label = '' } = softHsm.token().token;

    const error = await rejection(open({ label: `${label}x` }).wrapKey(KEY, BINDING));

    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain(`no token with the label "${label}x"`);
    expect(error.message).toContain(`"${label}" (serial `);
  });

  it('must be named by serial number when another has its label', async () => {
    makeToken(softHsm.admin(), 'twin');
    makeToken(softHsm.admin(), 'twin');

    const error = await rejection(open({ label: 'twin' }).wrapKey(KEY, BINDING));

    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('token.serial');
  });

  it('counts as away, which may pass, when the module shows none', async () => {
    const module = watched(softHsm.admin());
    module.after.set('C_GetSlotList', () => []);

    expect(await rejection(open({ label: 'any' }, module).wrapKey(KEY, BINDING))).toBeInstanceOf(
      KmsUnavailableError,
    );
  });

  /** Has every other token shown, and this one only from a look on. */
  function hiding(module: ReturnType<typeof watched>, label: string, looks: number): void {
    let look = 0;
    module.after.set('C_GetSlotList', (slots: Buffer[]) => {
      look += 1;
      const isHidden = look <= looks;
      return slots.filter((slot) => {
        const name = softHsm
          .admin()
          .C_GetTokenInfo(slot)
          .label.replace(/[\0 ]+$/, '');
        return !isHidden || name !== label;
      });
    });
  }

  it('is looked for again while only others are shown', async () => {
    const { label = '' } = softHsm.token().token;
    makeToken(softHsm.admin(), 'neighbour');
    const module = watched(softHsm.admin());
    hiding(module, label, 3);

    await expect(open({ label }, module).wrapKey(KEY, BINDING)).resolves.toBeDefined();
  });

  it('counts as away, which may pass, when it was there before, and as missing after that', async () => {
    const { label = '' } = softHsm.token().token;
    makeToken(softHsm.admin(), 'other');
    const module = watched(softHsm.admin());
    const kms = open({ label }, module);
    const wrapped = await kms.wrapKey(KEY, BINDING);

    module.before.set('C_DecryptInit', [failing('CKR_SESSION_CLOSED', 176)]);
    hiding(module, label, Infinity);
    const away = await rejection(kms.unwrapKey(wrapped, BINDING));
    expect(away).toMatchObject({ code: 'ERR_KMS_UNAVAILABLE', retryable: true });
    expect(away.message).toContain(`no token with the label "${label}"`);
    expect(await rejection(kms.unwrapKey(wrapped, BINDING))).toBeInstanceOf(ConfigurationError);
    module.after.delete('C_GetSlotList');
    expect(Buffer.from(await kms.unwrapKey(wrapped, BINDING))).toEqual(KEY);
  });

  it('is refused when it asks for no PIN', async () => {
    const { label = '' } = softHsm.token().token;
    const module = watched(softHsm.admin());
    module.after.set('C_GetTokenInfo', (info: pkcs11js.TokenInfo) => ({
      ...info,
      flags: info.flags & ~0x4,
    }));

    const error = await rejection(open({ label }, module).wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('no user PIN');
  });
});
