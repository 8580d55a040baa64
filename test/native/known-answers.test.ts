import type { CipherSuite } from '../../src/crypto/aead';
import type { NativeDataKey } from '../../src/crypto/native';
import { NATIVE_FORMS, NO_TYPE_TAG } from '../../src/crypto/native';
import { LABELS } from '../../src/crypto/labels';
import { lengthPrefixed } from '../../src/encoding/length-prefixed';
import { addOn, describeNative } from '../support/native';
import type {
  AeadVector,
  WycheproofGroup,
  WycheproofTest,
  XaesVectors,
} from '../support/shared-vectors';
import { describeSharedVectors, hex, pick } from '../support/shared-vectors';

import golden from '../vectors/format-1.json';

const HEADER = Buffer.from('010123456789abcdef', 'hex');

function dataKey(suite: CipherSuite, key: Buffer): NativeDataKey | undefined {
  return addOn().dataKey(suite, key, HEADER, undefined);
}

/** Seals and opens messages as they are, in frames with a header. */
function rawFunctions(key: NativeDataKey, associatedData: Buffer) {
  const binding = [associatedData, NO_TYPE_TAG, false, NATIVE_FORMS.raw] as const;
  return { seal: key.sealer(...binding)!, open: key.opener(...binding)! };
}

const framed = (...parts: Buffer[]): Buffer => Buffer.concat([HEADER, ...parts]);

describeNative('Known answers in the add-on', () => {
  const xaes = golden.ciphertexts.filter(({ suite }) => suite === 'xaes-256-gcm');

  it.each(xaes)('format 1: $storage, $type "$value"', ({ storage, stored }) => {
    const { fieldId, application } = golden;
    const key = dataKey('xaes-256-gcm', hex(golden.dataKey.bytes))!;
    const bytes = Buffer.from(stored, storage === 'text' ? 'base64url' : 'hex');
    const associatedData = lengthPrefixed([
      LABELS.fieldAssociatedData,
      HEADER,
      application,
      fieldId,
    ]);
    const asText = storage === 'text';
    const binding = [associatedData, NO_TYPE_TAG, asText, NATIVE_FORMS.raw] as const;
    const form = asText ? stored : bytes;
    const opened = key.opener(...binding)!(form) as Buffer;
    expect(key.sealer(...binding)!(opened, bytes.subarray(9, 33))).toEqual(form);
  });

  describeSharedVectors('XAES-256-GCM (C2SP)', 'xaes-256-gcm.json', (known: XaesVectors) => {
    it.each(known.vectors)('key $key', (vector) => {
      const { seal, open } = rawFunctions(
        dataKey('xaes-256-gcm', hex(vector.key))!,
        Buffer.from(vector.aadAscii),
      );
      const nonce = Buffer.from(vector.nonceAscii);
      const sealed = framed(nonce, hex(vector.ciphertext));
      expect(seal(Buffer.from(vector.plaintextAscii), nonce)).toEqual(sealed);
      expect(open(sealed)).toEqual(Buffer.from(vector.plaintextAscii));
    });
  });

  describeSharedVectors(
    'AES-256-GCM-SIV (Wycheproof)',
    'wycheproof/aes_gcm_siv_test.json',
    (vectors: { readonly testGroups: readonly WycheproofGroup<AeadVector>[] }) => {
      const tests = pick(vectors, ({ keySize }) => keySize === 256).filter(({ msg }) => msg !== '');
      const isThere = dataKey('aes-256-gcm-siv', Buffer.alloc(32)) !== undefined;

      it('are there where OpenSSL has the suite', () => {
        const [major = 0, minor = 0] = process.versions.openssl.split('.').map(Number);
        expect(isThere).toBe(major > 3 || (major === 3 && minor >= 2));
      });

      (isThere ? it.each(tests) : it.skip.each(tests))('test $tcId ($result: $comment)', (test) => {
        const { seal, open } = rawFunctions(
          dataKey('aes-256-gcm-siv', hex(test.key))!,
          hex(test.aad),
        );
        const sealed = framed(hex(test.iv), hex(test.ct), hex(test.tag));
        const isValid = test.result === 'valid';
        expect(open(sealed)).toEqual(isValid ? hex(test.msg) : undefined);
        if (isValid) expect(seal(hex(test.msg), hex(test.iv))).toEqual(sealed);
      });
    },
  );

  describeSharedVectors(
    'HMAC-SHA-256 (Wycheproof)',
    'wycheproof/hmac_sha256_test.json',
    (vectors: {
      readonly testGroups: readonly WycheproofGroup<
        WycheproofTest & { readonly key: string; readonly msg: string; readonly tag: string }
      >[];
    }) => {
      // The first byte of a message takes the place of the type tag.
      const tests = pick(vectors, ({ keySize }) => keySize === 256).filter(({ msg }) => msg !== '');

      it.each(tests)('test $tcId ($result: $comment)', ({ key, msg, tag, result }) => {
        const message = hex(msg);
        const token = addOn().tokens(hex(key), message[0]!, hex(tag).length * 8)!;
        expect(token(message.subarray(1)) === hex(tag).toString('base64url')).toBe(
          result === 'valid',
        );
      });
    },
  );
});
