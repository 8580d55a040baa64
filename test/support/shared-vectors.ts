import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** Known answers by others live beside the project, since they are theirs and large. */
const FOLDER = path.resolve(__dirname, '../../../shared/vectors');

/** Digests of the files as they were published, so that no vector is edited to make a test pass. */
const SHA256: Readonly<Record<string, string>> = {
  'xaes-256-gcm.json': '0315a301e99e82dba9949aedcbeacedd26f83a21d5dd8053b2f1377ead717dfe',
  'wycheproof/aes_gcm_test.json':
    '985e5ecc172e181eaf49e89508b9470dcf478002eb7e8559c707eb42dc97dfe7',
  'wycheproof/aes_gcm_siv_test.json':
    'd96e4f8c0db1a5e3b395907120f9d417d599507e7a08a1f60babff09ae276a8d',
  'wycheproof/xchacha20_poly1305_test.json':
    'a79de072571b90eb40c3a63ce0c7f75dcb4b62323c8870228e1f61dcc61d63a9',
  'wycheproof/hmac_sha256_test.json':
    '2d201cfa61d1bf95e6f5d07d96634b4a348b31e8eaa277ad7c8d09677b7a743f',
  'wycheproof/hkdf_sha256_test.json':
    'bb2b462a38b251cb52a2aede706d6d4b62b26864f4e80c95497507ddb07c5f1e',
};

/** C2SP's known answers of XAES-256-GCM. */
export interface XaesVectors {
  readonly vectors: readonly {
    readonly key: string;
    readonly nonceAscii: string;
    readonly plaintextAscii: string;
    readonly aadAscii: string;
    readonly ciphertext: string;
  }[];
  readonly accumulated: { readonly after10000: string; readonly after1000000: string };
}

export interface WycheproofTest {
  readonly tcId: number;
  readonly comment: string;
  readonly flags: readonly string[];
  readonly result: 'valid' | 'invalid' | 'acceptable';
}

export interface WycheproofGroup<Test extends WycheproofTest> {
  readonly keySize: number;
  readonly ivSize: number;
  readonly tagSize: number;
  readonly tests: readonly Test[];
}

export interface AeadVector extends WycheproofTest {
  readonly key: string;
  readonly iv: string;
  readonly aad: string;
  readonly msg: string;
  readonly ct: string;
  readonly tag: string;
}

/**
 * Declares a suite over a file of shared vectors, of the type that `declare` takes; reports it as
 * skipped where the file is missing.
 */
export function describeSharedVectors(
  title: string,
  file: string,
  declare: (vectors: never) => void,
): void {
  const location = path.join(FOLDER, file);
  if (!existsSync(location)) {
    describe(title, () => {
      it.skip(`is skipped because ../shared/vectors/${file} is missing`, () => undefined);
    });
    return;
  }
  const text = readFileSync(location);
  describe(title, () => {
    it('runs against the vectors as they were published', () => {
      expect(createHash('sha256').update(text).digest('hex')).toBe(SHA256[file]);
    });
    declare(JSON.parse(text.toString('utf8')) as never);
  });
}

/** The tests of those Wycheproof groups that a predicate picks. */
export function pick<Test extends WycheproofTest>(
  vectors: { readonly testGroups: readonly WycheproofGroup<Test>[] },
  wanted: (group: WycheproofGroup<Test>) => boolean,
): Test[] {
  return vectors.testGroups.filter(wanted).flatMap((group) => [...group.tests]);
}

export function hex(text: string): Buffer {
  return Buffer.from(text, 'hex');
}
