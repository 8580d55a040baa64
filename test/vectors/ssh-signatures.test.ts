import { execFileSync } from 'node:child_process';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readPublicKeyLine } from '../../src/approvals/ssh/ssh-public-key';
import { readSignature } from '../../src/approvals/ssh/ssh-signature';
import { field } from '../support/ssh-signer';

interface Signed {
  readonly key: string;
  readonly signature: string;
}

/** Made by ssh-keygen of OpenSSH 9.2. */
const vectors = JSON.parse(readFileSync(join(__dirname, 'ssh-signatures.json'), 'utf8')) as {
  readonly message: string;
  readonly signatures: readonly (Signed & { readonly hash: string })[];
  readonly otherNamespace: string;
  readonly weak: Signed;
};
const named = vectors.signatures.map(
  (each) => [`${each.key.split(' ')[0] ?? ''}, ${each.hash}`, each] as const,
);

const armored = (blob: Buffer): string =>
  `-----BEGIN SSH SIGNATURE-----\n${blob.toString('base64')}\n-----END SSH SIGNATURE-----\n`;
const blobOf = (signature: string): Buffer =>
  Buffer.from(signature.split('\n').slice(1, -2).join(''), 'base64');

function holds({ key, signature }: Signed, message = vectors.message): boolean {
  const read = readSignature(signature);
  expect(read.signedBy).toEqual(readPublicKeyLine(key));
  return read.holds(message);
}

describe('A signature of ssh-keygen', () => {
  it.each(named)('with %s holds over its message and no other', (_, signed) => {
    expect(holds(signed)).toBe(true);
    expect(holds(signed, vectors.message.trimEnd())).toBe(false);
    expect(holds(signed, '')).toBe(false);
  });

  it.each(named)('with %s does not survive the flip of any bit', (_, { key, signature }) => {
    const blob = blobOf(signature);
    for (let at = 0; at < blob.length; at += 1) {
      const flipped = Buffer.from(blob);
      flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << (at % 8)), at);
      const isGood = (): boolean => {
        const read = readSignature(armored(flipped));
        return read.signedBy.equals(readPublicKeyLine(key)) && read.holds(vectors.message);
      };
      let good = false;
      try {
        good = isGood();
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
      expect(good).toBe(false);
    }
  });

  it.each(named)('with %s is refused at any other length', (_, { signature }) => {
    const blob = blobOf(signature);
    for (let length = 0; length < blob.length; length += 7) {
      expect(() => readSignature(armored(blob.subarray(0, length)))).toThrow(RangeError);
    }
    expect(() => readSignature(armored(Buffer.concat([blob, Buffer.alloc(1)])))).toThrow(/follows/);
  });

  it('of another namespace, of a weak key, and other texts are refused', () => {
    expect(() => readSignature(vectors.otherNamespace)).toThrow(/namespace/);
    expect(() => readSignature(vectors.weak.signature)).toThrow(/2048 to 16384 bits/);
    expect(() => readPublicKeyLine(vectors.weak.key)).toThrow(/2048 to 16384 bits/);
    for (const text of [
      '',
      'x'.repeat(10_000),
      armored(Buffer.alloc(0)),
      armored(Buffer.alloc(40)),
    ]) {
      expect(() => readSignature(text)).toThrow(RangeError);
    }
  });

  it('by rsa counts with SHA-256, and not with SHA-1', () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const { n = '', e = '' } = publicKey.export({ format: 'jwk' });
    const [modulus, exponent] = [n, e].map((number) => Buffer.from(number, 'base64url'));
    const key = Buffer.concat([
      field('ssh-rsa'),
      field(exponent ?? ''),
      field(Buffer.concat([Buffer.alloc(1), modulus ?? Buffer.alloc(0)])),
    ]);
    const signed = (name: string, hash: string): string => {
      const about = ['typeorm-field-encryption', '', 'sha512'].map(field);
      const digest = createHash('sha512').update(vectors.message).digest();
      const data = Buffer.concat([Buffer.from('SSHSIG'), ...about, field(digest)]);
      const content = field(Buffer.concat([field(name), field(sign(hash, data, privateKey))]));
      const begin = Buffer.concat([Buffer.from('SSHSIG'), Buffer.from([0, 0, 0, 1]), field(key)]);
      return armored(Buffer.concat([begin, ...about, content]));
    };
    expect(readSignature(signed('rsa-sha2-256', 'sha256')).holds(vectors.message)).toBe(true);
    expect(readSignature(signed('rsa-sha2-512', 'sha256')).holds(vectors.message)).toBe(false);
    expect(() => readSignature(signed('ssh-rsa', 'sha1'))).toThrow(/algorithm/);
    expect(() => readSignature(signed('ssh-ed25519', 'sha256'))).toThrow(/algorithm/);
  });
});

describe('A public key', () => {
  const key = vectors.signatures[0]?.key ?? '';
  const encoded = (...fields: readonly (string | Buffer)[]): string =>
    Buffer.concat(fields.map(field)).toString('base64');

  it.each([
    ['another type than it has', key.replace('ssh-ed25519', 'ssh-rsa')],
    ['two lines', `${key}\n${key}`],
    ['no base64', 'ssh-ed25519 !!!'],
    ['too few bytes', `ssh-ed25519 ${encoded('ssh-ed25519', Buffer.alloc(31))}`],
    ['more than it should', `ssh-ed25519 ${encoded('ssh-ed25519', Buffer.alloc(32), 'x')}`],
    ['an unknown type', `ssh-dss ${encoded('ssh-dss', 'x')}`],
    ['a FIDO token', `sk-ssh-ed25519@openssh.com ${encoded('sk-ssh-ed25519@openssh.com', 'x')}`],
    [
      'a point that is not on its curve',
      `ecdsa-sha2-nistp256 ${encoded('ecdsa-sha2-nistp256', 'nistp256', Buffer.alloc(65, 4))}`,
    ],
    [
      'needless zeros',
      `ssh-rsa ${encoded('ssh-rsa', Buffer.from([0, 1, 0, 1]), Buffer.alloc(257, 1))}`,
    ],
    [
      'a negative number',
      `ssh-rsa ${encoded('ssh-rsa', Buffer.from([0x81]), Buffer.alloc(257, 1))}`,
    ],
  ])('with %s is refused', (_, line) => {
    expect(() => readPublicKeyLine(line)).toThrow(RangeError);
  });
});

const isInstalled = ['/usr/bin/ssh-keygen', '/bin/ssh-keygen'].some((path) => existsSync(path));
const suite = isInstalled ? describe : describe.skip;
suite(
  `The installed ssh-keygen${isInstalled ? '' : ' is missing (apt-get install openssh-client)'}`,
  () => {
    it('makes signatures that hold', () => {
      const folder = mkdtempSync(join(tmpdir(), 'ssh-'));
      const [file, key] = [join(folder, 'request.json'), join(folder, 'key')];
      writeFileSync(file, vectors.message);
      const keygen = (...args: string[]): unknown =>
        execFileSync('ssh-keygen', args, { stdio: 'pipe' });
      keygen('-q', '-t', 'ed25519', '-N', '', '-f', key);
      keygen('-Y', 'sign', '-n', 'typeorm-field-encryption', '-f', key, file);
      const signed = {
        key: readFileSync(`${key}.pub`, 'utf8'),
        signature: readFileSync(`${file}.sig`, 'utf8'),
      };
      rmSync(folder, { recursive: true, force: true });
      expect(holds(signed)).toBe(true);
    });
  },
);
