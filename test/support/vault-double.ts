import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import type { ServerOptions } from 'node:https';

import type { Answer, Call } from './http-double';
import { HttpDouble } from './http-double';

/** A Transit key, as `vault write transit/keys/<name>` makes it. */
export interface DoubleKey {
  type: string;
  versions: Buffer[];
  minDecryptionVersion: number;
  derived: boolean;
  exportable: boolean;
  allowPlaintextBackup: boolean;
  softDeleted: boolean;
}

interface Token {
  expiresAt: number;
  renewable: boolean;
  ttlSeconds: number;
  /** Renewals until the maximum life is reached. */
  renewals: number;
}

/** Credentials that the double's auth methods accept. */
export const CREDENTIALS = {
  roleId: 'clinic-role',
  secretId: 'canary-secret-id',
  username: 'clinic',
  password: 'canary-password',
  role: 'clinic',
  jwt: 'canary-service-account-jwt',
};

export const ROOT_TOKEN = 'canary-root-token';

const CIPHERS: Record<string, 'aes-256-gcm' | 'chacha20-poly1305'> = {
  'aes256-gcm96': 'aes-256-gcm',
  'chacha20-poly1305': 'chacha20-poly1305',
};

/**
 * A double of a Vault or OpenBao server: the part of the HTTP API in use, with the statuses, bodies
 * and wordings of an OpenBao 2.7.2 (test/real compares them), and real AEADs. No Vault: where VAULT_ADDR and VAULT_TOKEN
 * name one, the same suite runs on it.
 */
export class VaultDouble {
  readonly http: HttpDouble;
  readonly keys = new Map<string, DoubleKey>();
  readonly tokens = new Map<string, Token>();
  /** Namespaces other than the root one. */
  readonly namespaces = new Set<string>();
  mount = 'transit';
  sealed = false;
  standby = false;
  /** Of tokens that logins give. */
  login = { ttlSeconds: 3600, renewable: true, renewals: 1000 };
  /** Whether the policy allows the caller to read keys. */
  mayRead = true;
  /** What the policy allows to be done with keys. */
  allowed: readonly string[] = ['encrypt', 'decrypt'];
  /** Whether it allows the caller to ask for its own rights, as the default policy does. */
  mayAskForRights = true;

  constructor(tls?: ServerOptions) {
    this.http = new HttpDouble((call) => this.#answer(call), tls);
    this.tokens.set(ROOT_TOKEN, {
      expiresAt: Infinity,
      renewable: false,
      ttlSeconds: 0,
      renewals: 0,
    });
  }

  get address(): string {
    return `http://127.0.0.1:${String(this.http.port)}`;
  }

  makeKey(name: string, settings: Partial<DoubleKey> = {}): DoubleKey {
    const key: DoubleKey = {
      type: 'aes256-gcm96',
      versions: [randomBytes(32)],
      minDecryptionVersion: 1,
      derived: false,
      exportable: false,
      allowPlaintextBackup: false,
      softDeleted: false,
      ...settings,
    };
    this.keys.set(name, key);
    return key;
  }

  rotate(name: string): void {
    this.keys.get(name)?.versions.push(randomBytes(32));
  }

  /** Takes every token but the root one away. */
  revokeAll(): void {
    for (const token of this.tokens.keys()) if (token !== ROOT_TOKEN) this.tokens.delete(token);
  }

  #answer(call: Call): Answer {
    const [path = '', query = ''] = call.path.replace(/^\/v1\//, '').split('?');
    if (path === 'sys/health') return this.#health(new URLSearchParams(query));
    if (this.sealed) return errors(503, 'Vault is sealed');
    const namespace = call.headers['x-vault-namespace'];
    if (typeof namespace === 'string' && !this.namespaces.has(namespace)) {
      return errors(404, 'namespace not found');
    }
    const body = call.body === '' ? {} : (JSON.parse(call.body) as Record<string, unknown>);
    if (/^auth\/[^/]+\/login/.test(path)) return this.#logIn(path, body);
    const token = this.#tokenOf(call);
    if (token === undefined) return errors(403, 'permission denied');
    if (path === 'auth/token/lookup-self') return lookUp(token);
    if (path === 'auth/token/renew-self') return renew(call, token);
    if (path === 'sys/capabilities-self') return this.#capabilities(body);
    return this.#transit(call.method, path, body);
  }

  #health(query: URLSearchParams): Answer {
    const body = {
      initialized: true,
      sealed: this.sealed,
      standby: this.sealed || this.standby,
    };
    const code = (name: string, usual: number): number => Number(query.get(name) ?? usual);
    if (this.sealed) return { status: code('sealedcode', 503), body };
    const isOk = !this.standby || query.get('standbyok') === 'true';
    return { status: isOk ? 200 : 429, body };
  }

  #capabilities({ paths }: Record<string, unknown>): Answer {
    if (!this.mayAskForRights) return NOT_ALLOWED;
    const granted = (paths as string[]).map((path) => {
      const operation = path.slice(this.mount.length + 1).split('/')[0] ?? '';
      return [path, this.allowed.includes(operation) ? ['update'] : ['deny']] as const;
    });
    return { status: 200, body: { data: Object.fromEntries(granted) } };
  }

  #tokenOf({ headers }: Call): Token | undefined {
    const token = this.tokens.get(String(headers['x-vault-token']));
    return token !== undefined && performance.now() < token.expiresAt ? token : undefined;
  }

  #logIn(path: string, body: Record<string, unknown>): Answer {
    const { roleId, secretId, username, password, role, jwt } = CREDENTIALS;
    switch (path) {
      case 'auth/approle/login':
        if (body['role_id'] !== roleId || body['secret_id'] !== secretId) {
          return errors(400, 'invalid role or secret ID');
        }
        return this.#newToken();
      case `auth/userpass/login/${username}`:
        if (body['password'] !== password) return errors(400, 'invalid username or password');
        return this.#newToken();
      case 'auth/kubernetes/login':
      case 'auth/kubernetes-east/login':
        if (body['role'] !== role || body['jwt'] !== jwt) return errors(403, 'permission denied');
        return this.#newToken();
      default:
        return errors(403, 'permission denied');
    }
  }

  #newToken(): Answer {
    const token = `hvs.canary-${randomBytes(12).toString('hex')}`;
    const { ttlSeconds, renewable, renewals } = this.login;
    const expiresAt = performance.now() + ttlSeconds * 1000;
    this.tokens.set(token, { expiresAt, renewable, ttlSeconds, renewals });
    return authReply(token, ttlSeconds, renewable);
  }

  #transit(method: string, path: string, body: Record<string, unknown>): Answer {
    const prefix = `${this.mount}/`;
    const [operation = '', name = ''] = path.slice(prefix.length).split('/');
    if (!path.startsWith(prefix) || !['keys', 'encrypt', 'decrypt'].includes(operation)) {
      return errors(404, `no handler for route "${path}". route entry not found.`);
    }
    const key = this.keys.get(name);
    if (operation === 'keys') {
      if (!this.mayRead || method !== 'GET') return NOT_ALLOWED;
      return key === undefined ? errors(404) : describe(name, key);
    }
    if (!this.allowed.includes(operation)) return NOT_ALLOWED;
    if (key?.softDeleted === true) return errors(400, 'refusing to use soft-deleted key');
    if (operation === 'encrypt') return encrypt(key ?? this.makeKey(name), body);
    if (key === undefined) return errors(400, 'encryption key not found');
    return body['batch_input'] === undefined ? decrypt(key, body) : decryptBatch(key, body);
  }
}

/** What a policy does not allow. */
const NOT_ALLOWED = errors(403, '1 error occurred:\n\t* permission denied\n\n');

function errors(status: number, ...messages: string[]): Answer {
  return { status, body: { errors: messages } };
}

function authReply(token: string, ttl: number, renewable: boolean): Answer {
  return { status: 200, body: { auth: { client_token: token, lease_duration: ttl, renewable } } };
}

function lookUp({ expiresAt, renewable }: Token): Answer {
  const left = expiresAt === Infinity ? 0 : Math.round((expiresAt - performance.now()) / 1000);
  return { status: 200, body: { data: { ttl: left, renewable } } };
}

function renew(call: Call, token: Token): Answer {
  if (token.ttlSeconds === 0) return errors(400, 'invalid lease ID');
  if (!token.renewable) return errors(400, 'lease is not renewable');
  token.renewals -= 1;
  const left = (token.expiresAt - performance.now()) / 1000;
  const ttl = token.renewals >= 0 ? token.ttlSeconds : Math.floor(left);
  token.expiresAt = performance.now() + ttl * 1000;
  return authReply(String(call.headers['x-vault-token']), ttl, true);
}

function describe(name: string, key: DoubleKey): Answer {
  const { type, versions, derived, exportable, allowPlaintextBackup, minDecryptionVersion } = key;
  const data = {
    name,
    type,
    derived,
    exportable,
    allow_plaintext_backup: allowPlaintextBackup,
    latest_version: versions.length,
    min_decryption_version: minDecryptionVersion,
    min_encryption_version: 0,
    deletion_allowed: false,
    soft_deleted: key.softDeleted,
    supports_encryption: true,
    supports_decryption: true,
    keys: Object.fromEntries(versions.map((_, index) => [String(index + 1), 1_700_000_000])),
  };
  return { status: 200, body: { data } };
}

function encrypt(named: DoubleKey, body: Record<string, unknown>): Answer {
  const { type, versions } = named;
  const key = derivedKey(named, versions.length, body);
  const cipherName = CIPHERS[type];
  if (key === undefined || cipherName === undefined)
    return errors(400, `unsupported key type ${type}`);
  const nonce = randomBytes(12);
  const cipher = createCipheriv(cipherName as 'aes-256-gcm', key, nonce, {
    authTagLength: 16,
  });
  cipher.setAAD(bytesOf(body['associated_data']));
  const sealed = Buffer.concat([
    nonce,
    cipher.update(bytesOf(body['plaintext'])),
    cipher.final(),
    cipher.getAuthTag(),
  ]);
  const ciphertext = `vault:v${String(versions.length)}:${sealed.toString('base64')}`;
  return { status: 200, body: { data: { ciphertext, key_version: versions.length } } };
}

/** One result for each value; a status for all as Transit chooses it. */
function decryptBatch(key: DoubleKey, body: Record<string, unknown>): Answer {
  const answers = (body['batch_input'] as Record<string, unknown>[]).map((item) =>
    decrypt(key, item),
  );
  const results = answers.map(({ body: answer }) => {
    const { data, errors: reasons } = answer as { data?: object; errors?: string[] };
    return data ?? { plaintext: '', error: reasons?.join(), reference: '' };
  });
  const failed = answers.filter(({ status }) => status !== 200).length;
  const isPartial = failed > 0 && failed < answers.length;
  const partial = Number(body['partial_failure_response_code'] ?? 400);
  return {
    status: failed === 0 ? 200 : isPartial ? partial : 400,
    body: { data: { batch_results: results } },
  };
}

/** As Transit does: HKDF of the key, with the context as its info. */
function derivedKey(
  { versions, derived }: DoubleKey,
  version: number,
  { context }: Record<string, unknown>,
): Buffer | undefined {
  const key = versions[version - 1];
  if (!derived || key === undefined) return key;
  return Buffer.from(hkdfSync('sha256', key, Buffer.alloc(0), bytesOf(context), 32));
}

function decrypt(named: DoubleKey, body: Record<string, unknown>): Answer {
  const { type, versions, minDecryptionVersion } = named;
  if (named.derived && bytesOf(body['context']).length === 0) {
    return errors(
      400,
      "missing 'context' for key derivation; the key was created using a derived key, which means additional, " +
        'per-request information must be included in order to perform operations with the key',
    );
  }
  const text = String(body['ciphertext']);
  if (!text.startsWith('vault:v')) return errors(400, 'invalid ciphertext: no prefix');
  const [digits = '', base64, ...rest] = text.slice('vault:v'.length).split(':');
  if (base64 === undefined || rest.length > 0) {
    return errors(400, 'invalid ciphertext: wrong number of fields');
  }
  if (!/^\d+$/.test(digits)) {
    return errors(400, 'invalid ciphertext: version number could not be decoded');
  }
  // As Transit does, for ciphertexts from before there were versions.
  const version = Number(digits) || 1;
  if (version > versions.length) return errors(400, 'invalid ciphertext: version is too new');
  if (version < minDecryptionVersion) {
    return errors(400, 'ciphertext or signature version is disallowed by policy (too old)');
  }
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(base64)) {
    return errors(400, 'invalid ciphertext: could not decode base64');
  }
  const decoded = Buffer.from(base64, 'base64');
  if (decoded.length < 12 + 16) return errors(400, 'invalid ciphertext length');
  const key = derivedKey(named, version, body);
  const plaintext = open(type, key, decoded, bytesOf(body['associated_data']));
  if (plaintext === undefined) return errors(400, 'cipher: message authentication failed');
  return { status: 200, body: { data: { plaintext: plaintext.toString('base64') } } };
}

function open(
  type: string,
  key: Buffer | undefined,
  sealed: Buffer,
  aad: Buffer,
): Buffer | undefined {
  try {
    const decipher = createDecipheriv(
      CIPHERS[type] as 'aes-256-gcm',
      key ?? Buffer.alloc(32),
      sealed.subarray(0, 12),
      { authTagLength: 16 },
    );
    decipher.setAAD(aad);
    decipher.setAuthTag(sealed.subarray(-16));
    return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
  } catch {
    return undefined;
  }
}

function bytesOf(base64: unknown): Buffer {
  return Buffer.from(typeof base64 === 'string' ? base64 : '', 'base64');
}
