import { KeyUnwrapError } from '../../../../src/errors';
import { parseWrapped } from '../../../../src/kms/vault/wrapped-form';

describe('A key wrapped by Vault', () => {
  it.each([61, 128, 255, 256, 384, 512])(
    'is none that a public RSA key of Transit could have made, %i bytes long',
    (bytes) => {
      const wrapped = Buffer.concat([Buffer.of(0x01, 0, 0, 0, 1), Buffer.alloc(bytes, 0x11)]);
      expect(() => parseWrapped(wrapped)).toThrow(KeyUnwrapError);
    },
  );
});
