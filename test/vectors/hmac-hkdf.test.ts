import { equalInConstantTime } from '../../src/crypto/secret-bytes';
import { hkdfSha256, hmacKey, hmacSha256, hmacSha256Base64url } from '../../src/crypto/hmac';
import type { WycheproofGroup, WycheproofTest } from '../support/shared-vectors';
import { describeSharedVectors, hex, pick } from '../support/shared-vectors';

interface MacVector extends WycheproofTest {
  readonly key: string;
  readonly msg: string;
  readonly tag: string;
}

interface HkdfVector extends WycheproofTest {
  readonly ikm: string;
  readonly salt: string;
  readonly info: string;
  readonly size: number;
  readonly okm: string;
}

describeSharedVectors(
  'HMAC-SHA-256 (Wycheproof)',
  'wycheproof/hmac_sha256_test.json',
  (vectors: { readonly testGroups: readonly WycheproofGroup<MacVector>[] }) => {
    const tests = pick(vectors, () => true);

    it('covers 174 vectors', () => {
      expect(tests).toHaveLength(174);
    });

    it.each(tests)('gives the known answer of test $tcId ($result: $comment)', (test) => {
      const tag = hex(test.tag);
      const key = hmacKey(hex(test.key));
      const computed = hmacSha256(key, hex(test.msg));

      expect(equalInConstantTime(computed.subarray(0, tag.length), tag)).toBe(
        test.result === 'valid',
      );
      expect(hmacSha256Base64url(key, hex(test.msg))).toBe(computed.toString('base64url'));
    });
  },
);

describeSharedVectors(
  'HKDF-SHA-256 (Wycheproof)',
  'wycheproof/hkdf_sha256_test.json',
  (vectors: { readonly testGroups: readonly WycheproofGroup<HkdfVector>[] }) => {
    const tests = pick(vectors, () => true);

    it('covers 86 vectors', () => {
      expect(tests).toHaveLength(86);
    });

    it.each(tests)('gives the known answer of test $tcId ($result: $comment)', (test) => {
      const derive = (): Buffer =>
        hkdfSha256({
          key: hex(test.ikm),
          salt: hex(test.salt),
          info: hex(test.info),
          bytes: test.size,
        });
      if (test.result === 'invalid') expect(derive).toThrow('Invalid key length');
      else expect(derive().toString('hex')).toBe(test.okm);
    });
  },
);
