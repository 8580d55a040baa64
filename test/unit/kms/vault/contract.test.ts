import { randomBytes } from 'node:crypto';

import { vaultKms } from '../../../../src/kms/vault';
import { kmsProviderContract } from '../../../contract/kms-provider.contract';
import { ROOT_TOKEN, VaultDouble } from '../../../support/vault-double';

const KEY_TYPES = ['aes256-gcm96', 'chacha20-poly1305'];

describe.each(KEY_TYPES)('vaultKms with %s on a double keeps the provider contract', (type) => {
  const double = new VaultDouble();

  beforeAll(() => double.http.start());
  afterAll(() => double.http.stop());

  kmsProviderContract(() => {
    double.makeKey('clinic', { type });
    double.rotate('clinic');
    double.makeKey('stranger', { type });
    double.rotate('stranger');
    const open = (key: string) => vaultKms({ address: double.address, token: ROOT_TOKEN, key });
    const [kms, stranger] = [open('clinic'), open('stranger')];
    return Promise.resolve({
      kms,
      stranger,
      secrets: [ROOT_TOKEN],
      close: async () => {
        await kms.close?.();
        await stranger.close?.();
      },
    });
  });
});

const { VAULT_ADDR: address, VAULT_TOKEN: token } = process.env;

if (address === undefined || token === undefined) {
  it.skip('vaultKms on a real server keeps the provider contract (not here: VAULT_ADDR and VAULT_TOKEN are not set)', () => {});
} else {
  describe.each(KEY_TYPES)(
    'vaultKms with %s on a real server keeps the provider contract',
    (type) => {
      const mount = `field-encryption-${randomBytes(6).toString('hex')}`;
      const namespace = process.env['VAULT_NAMESPACE'];

      const ask = async (method: string, path: string, body?: object): Promise<void> => {
        const { status } = await fetch(`${address}/v1/${path}`, {
          method,
          headers: {
            'X-Vault-Token': token,
            ...(namespace === undefined ? {} : { 'X-Vault-Namespace': namespace }),
          },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        });
        expect([path, status < 300]).toEqual([path, true]);
      };

      beforeAll(() => ask('POST', `sys/mounts/${mount}`, { type: 'transit' }));
      afterAll(() => ask('DELETE', `sys/mounts/${mount}`));

      kmsProviderContract(async () => {
        const open = async () => {
          const key = `kek-${randomBytes(6).toString('hex')}`;
          await ask('POST', `${mount}/keys/${key}`, { type });
          await ask('POST', `${mount}/keys/${key}/rotate`);
          return vaultKms({ address, token, mount, key, insecureHttp: true });
        };
        const [kms, stranger] = [await open(), await open()];
        return {
          kms,
          stranger,
          secrets: [token],
          close: async () => {
            await kms.close?.();
            await stranger.close?.();
          },
        };
      });
    },
  );
}
