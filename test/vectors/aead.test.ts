import { createSecretKey } from 'node:crypto';

import { createAes256GcmSiv } from '../../src/crypto/aead';
import type { NonceChoosingAead } from '../../src/crypto/cipher-suite';
import { AeadError } from '../../src/crypto/cipher-suite';
import { openGcm, sealGcm, openBytes } from '../../src/crypto/gcm';
import { RANDOM_NONCES } from '../../src/crypto/nonces';
import { createXchacha20Poly1305 } from '../../src/crypto/xchacha20-poly1305';
import { SealedMessage } from '../../src/encoding/sealed-message';
import { sealWithNonce } from '../support/seal-with-nonce';
import type { AeadVector, WycheproofGroup } from '../support/shared-vectors';
import { describeSharedVectors, hex, pick } from '../support/shared-vectors';

interface AeadVectors {
  readonly testGroups: readonly WycheproofGroup<AeadVector>[];
}

describeSharedVectors(
  'AES-256-GCM with a 96-bit nonce and a 128-bit tag (Wycheproof)',
  'wycheproof/aes_gcm_test.json',
  (vectors: AeadVectors) => {
    const tests = pick(
      vectors,
      ({ keySize, ivSize, tagSize }) => keySize === 256 && ivSize === 96 && tagSize === 128,
    );

    it('covers 66 vectors', () => {
      expect(tests).toHaveLength(66);
    });

    it.each(tests)('gives the known answer of test $tcId ($result: $comment)', (test) => {
      const key = createSecretKey(hex(test.key));
      const sealed = hex(test.ct + test.tag);
      const open = (): Buffer =>
        openGcm(key, hex(test.iv), new SealedMessage(sealed, 0, 0), hex(test.aad));
      if (test.result === 'invalid') {
        expect(open).toThrow(AeadError);
        return;
      }
      const target = Buffer.alloc(sealed.length);
      const message = new SealedMessage(target, 0, 0);
      message.ciphertext.set(hex(test.msg));
      sealGcm(key, hex(test.iv), message, hex(test.aad));
      expect(target).toEqual(sealed);
      expect(open()).toEqual(hex(test.msg));
    });
  },
);

describeSharedVectors(
  'AES-256-GCM-SIV (Wycheproof)',
  'wycheproof/aes_gcm_siv_test.json',
  (vectors: AeadVectors) => {
    const tests = pick(vectors, ({ keySize, ivSize }) => keySize === 256 && ivSize === 96);

    it('covers 103 vectors', () => {
      expect(tests).toHaveLength(103);
    });

    it.each(tests)('gives the known answer of test $tcId ($result: $comment)', (test) => {
      expectKnownAnswer(createAes256GcmSiv(hex(test.key)), test);
    });
  },
);

for (const implementation of ['sodium', 'noble'] as const) {
  describeSharedVectors(
    `XChaCha20-Poly1305 through ${implementation} (Wycheproof)`,
    'wycheproof/xchacha20_poly1305_test.json',
    (vectors: AeadVectors) => {
      const tests = pick(vectors, () => true);
      const usable = tests.filter(({ iv }) => hex(iv).length === 24);

      it('covers every vector with a 192-bit nonce', () => {
        expect(usable).toHaveLength(tests.filter((test) => test.iv.length === 48).length);
        expect(usable.length).toBeGreaterThan(250);
      });

      it.each(usable)('gives the known answer of test $tcId ($result: $comment)', (test) => {
        expectKnownAnswer(
          createXchacha20Poly1305(hex(test.key), RANDOM_NONCES, implementation),
          test,
        );
      });
    },
  );
}

function expectKnownAnswer(aead: NonceChoosingAead, test: AeadVector): void {
  const sealed = hex(test.iv + test.ct + test.tag);
  const open = (): Buffer => openBytes(aead, sealed, hex(test.aad));
  if (test.result === 'invalid') {
    expect(open).toThrow(AeadError);
    return;
  }
  expect(sealWithNonce(aead, hex(test.iv), hex(test.msg), hex(test.aad))).toEqual(sealed);
  expect(open()).toEqual(hex(test.msg));
}
