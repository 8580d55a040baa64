import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { tokenMac } from '../../src/crypto/token-mac';
import { hmacKey, hmacSha256 } from '../../src/crypto/hmac';
import { ADD_ON_VERSION, NATIVE_FORMS } from '../../src/crypto/native';
import type { AddOn } from '../../src/crypto/native';
import { keyHeader } from '../../src/format/data-key-id';
import { fieldCipher, KEY_ID } from '../support/field-fixtures';
import { addOn, describeNative } from '../support/native';
import { staticKey, StaticKeySource } from '../support/static-key-source';

const folder = join(__dirname, '..', '..', 'native');
const FILE = join('build', 'Release', 'field_encryption.node');

describe('The version of the add-on', () => {
  it('is that of the library, in both packages and in what is loaded', () => {
    const versions = ['package.json', 'native/package.json'].map(
      (file) =>
        (
          JSON.parse(readFileSync(join(__dirname, '..', '..', file), 'utf8')) as {
            version: string;
          }
        ).version,
    );
    expect(versions).toEqual([ADD_ON_VERSION, ADD_ON_VERSION]);
  });
});

describeNative('Tokens of the add-on', () => {
  const bytes = randomBytes(32);

  it.each(Array.from({ length: 256 }, (_, i) => i + 1))(
    'are those of JavaScript, %i bits long',
    (bits) => {
      const native = addOn().tokens(bytes, 1, bits)!;
      for (const content of ['', 'Ada', 'é\u{1f600}', Buffer.from('00ff', 'hex')]) {
        expect(native(content)).toBe(truncatedToken(bytes, content, bits));
      }
    },
  );

  it('leave to JavaScript what UTF-8 cannot carry, and what is too long', () => {
    const native = addOn().tokens(bytes, 1, 256)!;
    expect(native('\ud800')).toBeUndefined();
    expect(native('x'.repeat(10_000))).toBeUndefined();
    expect(tokenMac(hmacKey(bytes), 1, 256)('x'.repeat(10_000))).toHaveLength(43);
  });
});

/** The first bits of the MAC, by way of its digits. */
function truncatedToken(key: Buffer, content: string | Buffer, bits: number): string {
  const message = Buffer.concat([Buffer.of(1), Buffer.from(content)]);
  const digits = BigInt(`0x${hmacSha256(hmacKey(key), message).toString('hex')}`);
  const kept = (digits >> BigInt(256 - bits)) << BigInt(256 - bits);
  const hex = kept.toString(16).padStart(64, '0');
  return Buffer.from(hex, 'hex')
    .subarray(0, Math.ceil(bits / 8))
    .toString('base64url');
}

describeNative('Two copies of a process that draw the same random bytes', () => {
  /** The nonces that a copy makes of these values. */
  function noncesOf(by: string, nonceKey: Buffer | undefined): string[] {
    const { start } = require('../../native/index.cjs') as AddOn;
    let drawn = 0;
    const copy = start(() => Buffer.alloc(16 * 1024, (drawn += 1)));
    const key = copy.dataKey('xaes-256-gcm', Buffer.alloc(32, 1), keyHeader(KEY_ID), nonceKey)!;
    const seal = key.sealer(Buffer.from('ad'), 1, false, NATIVE_FORMS.text)!;
    return Array.from({ length: 3000 }, (_, i) =>
      (seal(`${by} ${String(i)}`) as Buffer).toString('hex', 9, 33),
    );
  }

  it('share every nonce where nonces are random, and none where they are hedged', () => {
    expect(noncesOf('a', undefined)).toEqual(noncesOf('b', undefined));
    const nonceKey = Buffer.alloc(32, 2);
    const nonces = [...noncesOf('a', nonceKey), ...noncesOf('b', nonceKey)];
    expect(new Set(nonces).size).toBe(6000);
    // The first half is that of all, and selects one key.
    expect(new Set(nonces.map((nonce) => nonce.slice(0, 24))).size).toBe(1);
  });

  it('stop where no random bytes are to be had, and where these are too few', () => {
    const { start } = require('../../native/index.cjs') as AddOn;
    const failure = new Error('no entropy');
    const sealWith = (random: () => Buffer) =>
      start(random)
        .dataKey('xaes-256-gcm', Buffer.alloc(32), keyHeader(KEY_ID), undefined)!
        .sealer(Buffer.from('ad'), 1, true, NATIVE_FORMS.text)!;
    const failing = sealWith(() => {
      throw failure;
    });
    expect(() => failing('Ada')).toThrow(failure);
    expect(sealWith(() => Buffer.alloc(100))('Ada')).toBeUndefined();
  });
});

describeNative('Keys in the add-on', () => {
  it('go when the data keys go, though the field that used them stays', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    let key = staticKey({ id: KEY_ID });
    const keys = new StaticKeySource([]);
    keys.activeKey = keys.keyByPrefix = () => key;
    const cipher = fieldCipher({}, { keys });
    const before = addOn().live();
    for (let i = 0; i < 50; i += 1) {
      key = staticKey({ id: KEY_ID, seed: i });
      expect(cipher.decrypt(cipher.encrypt('Ada'))).toBe('Ada');
    }
    expect(addOn().live()).toBeGreaterThan(before + 50);
    for (let i = 0; i < 50 && addOn().live() > before + 8; i += 1) {
      collect();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(addOn().live()).toBeLessThanOrEqual(before + 8);
  });
});

describeNative('A binary that is not the right one', () => {
  let copy: string;

  beforeEach(() => {
    copy = mkdtempSync(join(tmpdir(), 'field-encryption-native-'));
    for (const file of ['package.json', 'index.cjs', 'binary.cjs', FILE, `${FILE}.sha256`]) {
      cpSync(join(folder, file), join(copy, file));
    }
  });
  afterEach(() => rmSync(copy, { recursive: true, force: true }));

  /** Loads the package in a process of its own, and gives the message of what it throws. */
  function messageOf(): string {
    const script = `try { require(${JSON.stringify(copy)}); console.log('loaded'); } catch (error) { console.log(error.code, error.message); }`;
    const { status, signal, stdout } = spawnSync(process.execPath, ['-e', script], {
      encoding: 'utf8',
    });
    expect({ status, signal }).toEqual({ status: 0, signal: null });
    return stdout.trim();
  }

  /** Notes the digest again, as a build would. */
  function noteDigest(): void {
    const { noteDigest: note } = require('../../native/binary.cjs') as {
      noteDigest: (file: string) => void;
    };
    note(join(copy, FILE));
  }

  /** Compiles another binary in its place. */
  function compile(source: string): void {
    writeFileSync(join(copy, 'other.c'), source);
    execFileSync('cc', [
      '-shared',
      '-fPIC',
      '-Wl,-z,now',
      '-o',
      join(copy, FILE),
      join(copy, 'other.c'),
    ]);
    noteDigest();
  }

  it('is loaded as it was built', () => {
    expect(messageOf()).toBe('loaded');
  });

  it.each<[string, () => void, RegExp]>([
    ['cut short', () => truncateSync(join(copy, FILE), 5000), /not the one that was built/],
    ['changed', () => appendFileSync(join(copy, FILE), 'x'), /not the one that was built/],
    ['without a digest', () => rmSync(join(copy, `${FILE}.sha256`)), /not the one that was built/],
    ['missing', () => rmSync(join(copy, FILE)), /has no binary for/],
    [
      'no binary at all',
      () => {
        writeFileSync(join(copy, FILE), 'text');
        noteDigest();
      },
      /invalid ELF header|not a valid|too short/,
    ],
    ['no add-on', () => compile('int answer = 42;'), /did not self-register/],
    [
      'in need of a symbol that Node.js does not have',
      () =>
        compile(
          'void *missing_here(void); void *napi_register_module_v1(void *a, void *b) { return missing_here(); }',
        ),
      /undefined symbol/,
    ],
    [
      'of another version',
      () => {
        const manifest = readFileSync(join(copy, 'package.json'), 'utf8');
        writeFileSync(join(copy, 'package.json'), manifest.replace(ADD_ON_VERSION, '9.9.9'));
      },
      /it is of version 0\.1\.0, the package of 9\.9\.9/,
    ],
  ])('is refused: %s', (_how, damage, reason) => {
    damage();
    const message = messageOf();
    expect(message).toMatch(reason);
    expect(message).toContain('ERR_FIELD_ENCRYPTION_NATIVE');
    expect(message).toContain(copy);
    expect(message).toContain('npm rebuild typeorm-field-encryption-native');
  });

  it('is passed over for one that came with the package', () => {
    const prebuilt = join(copy, 'prebuilds', `${process.platform}-${process.arch}`);
    mkdirSync(prebuilt, { recursive: true });
    for (const file of ['field_encryption.node', 'field_encryption.node.sha256']) {
      cpSync(join(folder, 'build', 'Release', file), join(prebuilt, file));
    }
    truncateSync(join(copy, FILE), 5000);
    expect(messageOf()).toBe('loaded');
  });
});

describeNative('The add-on in a process', () => {
  it('frees every key, and bears any argument, in several threads', () => {
    const { status, signal, stderr } = spawnSync(
      process.execPath,
      ['--expose-gc', join(folder, 'scripts', 'stress.cjs'), join(folder, FILE), '300'],
      { encoding: 'utf8' },
    );
    expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' });
  });
});
