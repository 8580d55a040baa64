import type { KeyObject } from 'node:crypto';
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHash,
  createPublicKey,
  generateKeyPairSync,
  privateDecrypt,
  privateEncrypt,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';

import type { Answer, Call } from './http-double';
import { HttpDouble } from './http-double';
import { selfSigned } from './self-signed';

interface Version {
  readonly id: string;
  readonly material: KeyObject | Buffer;
}

/** A key of the double. */
export interface AzureDoubleKey {
  readonly versions: Version[];
  enabled: boolean;
  exportable: boolean;
  /** What the key may be used for; a vault lets an RSA key do all of it unless told otherwise. */
  operations: string[];
}

export const ACCESS_TOKEN = 'canary-access-token';

const KEY_WRAP_OPERATIONS = ['wrapKey', 'unwrapKey'] as const;
const RSA_OPERATIONS = ['encrypt', 'decrypt', 'sign', 'verify', ...KEY_WRAP_OPERATIONS] as const;
const KEY_WRAP_IV = Buffer.alloc(8, 0xa6);
const OAEP = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' } as const;

/** One for all: making RSA keys takes long. */
const rsaKeys = [1, 2].map(() => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey);

/**
 * A double of Azure Key Vault over HTTPS, and not the service: the challenge for a token, keys with
 * versions, wrapkey and unwrapkey with real RSA-OAEP-256 and AES key wrap, and sign with real PS256 over
 * the digest that is sent. There is no verify: the library verifies by itself, with the public key that
 * a GET of the version gives.
 */
export class AzureDouble {
  readonly certificate = selfSigned('IP:127.0.0.1');
  readonly http = new HttpDouble((call) => this.#answer(call), this.certificate);
  readonly keys = new Map<string, AzureDoubleKey>();
  #rsaKeysUsed = 0;

  keyId(name: string): string {
    return `https://127.0.0.1:${String(this.http.port)}/keys/${name}`;
  }

  makeKey(type: 'RSA' | 'oct-HSM'): string {
    const name = `kek-${randomBytes(6).toString('hex')}`;
    const operations = type === 'RSA' ? RSA_OPERATIONS : KEY_WRAP_OPERATIONS;
    this.keys.set(name, {
      versions: [],
      enabled: true,
      exportable: false,
      operations: [...operations],
    });
    this.rotate(name, type);
    return name;
  }

  /** What anybody can have of a key; undefined for a symmetric one. */
  publicKey(name: string): KeyObject | undefined {
    const material = this.keys.get(name)?.versions.at(-1)?.material;
    return material === undefined || Buffer.isBuffer(material)
      ? undefined
      : createPublicKey(material);
  }

  rotate(name: string, type: 'RSA' | 'oct-HSM'): void {
    const rsaKey = rsaKeys[this.#rsaKeysUsed++ % rsaKeys.length];
    const material = type === 'RSA' && rsaKey !== undefined ? rsaKey : randomBytes(32);
    this.keys.get(name)?.versions.push({ id: randomBytes(16).toString('hex'), material });
  }

  #answer({ method, path, headers, body }: Call): Answer {
    if (headers.authorization !== `Bearer ${ACCESS_TOKEN}`) return challenge();
    const [, , name = '', versionId, operation] = path.replace(/\?.*/, '').split('/');
    const key = this.keys.get(name);
    const version =
      versionId === undefined || versionId === ''
        ? key?.versions.at(-1)
        : key?.versions.find(({ id }) => id === versionId);
    if (key === undefined || version === undefined) return refusal(404, 'KeyNotFound');
    const kid = `${this.keyId(name)}/${version.id}`;
    if (method === 'GET') return { status: 200, body: describe(kid, key, version) };
    if (!key.enabled || !key.operations.some((allowed) => allowed.toLowerCase() === operation)) {
      return refusal(403, 'Forbidden');
    }
    const { alg, value } = JSON.parse(body) as { alg: string; value: string };
    const bytes = transform(
      String(operation),
      alg,
      version.material,
      Buffer.from(value, 'base64url'),
    );
    if (bytes === undefined) return refusal(400, 'BadParameter');
    return { status: 200, body: { kid, value: bytes.toString('base64url') } };
  }
}

function challenge(): Answer {
  return {
    status: 401,
    headers: {
      'WWW-Authenticate':
        'Bearer authorization="https://login.microsoftonline.com/tenant", resource="https://vault.azure.net"',
    },
    body: {},
  };
}

/** A refusal as Key Vault sends it. */
export function refusal(status: number, code: string, message = 'as the service puts it'): Answer {
  return { status, body: { error: { code, message } } };
}

function describe(kid: string, key: AzureDoubleKey, { material }: Version): object {
  const isRsa = !Buffer.isBuffer(material);
  const { n, e } = isRsa ? createPublicKey(material).export({ format: 'jwk' }) : {};
  const kty = isRsa ? 'RSA' : 'oct-HSM';
  return {
    key: { kid, kty, key_ops: key.operations, n, e },
    attributes: { enabled: key.enabled, exportable: key.exportable, created: 1_700_000_000 },
  };
}

function transform(
  operation: string,
  algorithm: string,
  material: KeyObject | Buffer,
  bytes: Buffer,
): Buffer | undefined {
  const isWrap = operation === 'wrapkey';
  try {
    if (operation === 'sign') {
      if (algorithm !== 'PS256' || Buffer.isBuffer(material) || bytes.length !== 32)
        return undefined;
      return signDigest(material, bytes);
    }
    if (algorithm === 'RSA-OAEP-256' && !Buffer.isBuffer(material)) {
      return isWrap
        ? publicEncrypt({ key: createPublicKey(material), ...OAEP }, bytes)
        : privateDecrypt({ key: material, ...OAEP }, bytes);
    }
    if (algorithm !== 'A256KW' || !Buffer.isBuffer(material)) return undefined;
    const cipher = (isWrap ? createCipheriv : createDecipheriv)(
      'id-aes256-wrap',
      material,
      KEY_WRAP_IV,
    );
    return Buffer.concat([cipher.update(bytes), cipher.final()]);
  } catch {
    return undefined;
  }
}

/** PS256 (RFC 8017, section 9.1.1) of a digest: Node.js signs nothing that is hashed already. */
function signDigest(privateKey: KeyObject, digest: Buffer): Buffer {
  const modulusBytes = (privateKey.asymmetricKeyDetails?.modulusLength ?? 0) / 8;
  const salt = randomBytes(32);
  const hash = createHash('sha256')
    .update(Buffer.concat([Buffer.alloc(8), digest, salt]))
    .digest();
  const block = Buffer.concat([
    Buffer.alloc(modulusBytes - 32 - salt.length - 2),
    Buffer.of(0x01),
    salt,
  ]);
  const mask = mgf1(hash, block.length);
  const masked = block.map((byte, at) => byte ^ mask.readUInt8(at));
  masked[0] = (masked[0] ?? 0) & 0x7f;
  const encoded = Buffer.concat([masked, hash, Buffer.of(0xbc)]);
  return privateEncrypt({ key: privateKey, padding: constants.RSA_NO_PADDING }, encoded);
}

function mgf1(seed: Buffer, bytes: number): Buffer {
  const blocks = Array.from({ length: Math.ceil(bytes / 32) }, (_, at) => {
    const counter = Buffer.alloc(4);
    counter.writeUInt32BE(at);
    return createHash('sha256').update(seed).update(counter).digest();
  });
  return Buffer.concat(blocks).subarray(0, bytes);
}
