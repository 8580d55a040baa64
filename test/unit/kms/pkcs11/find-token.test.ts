import type * as pkcs11js from 'pkcs11js';

import { ConfigurationError, KmsUnavailableError } from '../../../../src/errors';
import type { Pkcs11KmsOptions } from '../../../../src/kms/pkcs11';
import { openWatched, watched } from '../../../support/pkcs11-faults';
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
