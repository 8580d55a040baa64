import { randomBytes } from 'node:crypto';

import type { KeyWrapName } from '../../../../src/kms/pkcs11/key-wrap';
import { kmsProviderContract } from '../../../contract/kms-provider.contract';
import type { TestModule, TokenAccess } from '../../../support/pkcs11-modules';
import { nss, openKms, PIN, softHsm } from '../../../support/pkcs11-modules';
import { isWholeMatrix } from '../../../support/test-matrix';

/** Each module and each mechanism; with `TEST_MATRIX=all`, each with each. */
const CASES: readonly [TestModule, KeyWrapName][] = isWholeMatrix
  ? [
      [softHsm, 'aes-gcm'],
      [softHsm, 'aes-key-wrap'],
      [nss, 'aes-gcm'],
      [nss, 'aes-key-wrap'],
    ]
  : [
      [softHsm, 'aes-key-wrap'],
      [nss, 'aes-gcm'],
    ];

for (const [module, mechanism] of CASES) {
  const title = `pkcs11Kms on ${module.name} by ${mechanism} keeps the provider contract`;
  if (module.missing !== undefined) {
    it.skip(`${title} (not here: ${module.missing})`, () => {});
    continue;
  }

  describe(title, () => {
    let access: TokenAccess;

    beforeAll(async () => {
      await module.start();
      access = module.token();
    });

    kmsProviderContract(async () => {
      const open = () =>
        openKms({
          ...access,
          keyLabel: `kek-${randomBytes(6).toString('hex')}`,
          createKey: true,
          mechanism,
          sessions: 1,
        });
      const kms = open();
      const stranger = open();
      await kms.rotateKek();
      await stranger.rotateKek();
      return {
        kms,
        stranger,
        secrets: [PIN],
        close: async () => {
          await kms.close?.();
          await stranger.close?.();
        },
      };
    });
  });
}
