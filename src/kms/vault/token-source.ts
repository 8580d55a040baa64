import { createHmac, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';

import { ConfigurationError, FieldEncryptionError, KmsUnavailableError } from '../../errors';
import { codeSuffix } from '../remote/failures';
import { withEvidence } from '../remote/health';

/** A secret, or a function that is called for it at each login. */
export type Secret = string | (() => string | undefined | Promise<string | undefined>);

/** How to log in. `mount` is the path of the auth method, by default its usual one. */
export type VaultAuth =
  | {
      readonly method: 'approle';
      readonly roleId: string;
      readonly secretId: Secret;
      readonly mount?: string;
    }
  | {
      readonly method: 'kubernetes';
      readonly role: string;
      /** File with the token of the service account. Defaults to where Kubernetes puts it. */
      readonly tokenPath?: string;
      readonly mount?: string;
    }
  | {
      readonly method: 'userpass';
      readonly username: string;
      readonly password: Secret;
      readonly mount?: string;
    };

/** A token as a login returns it. */
export interface Lease {
  readonly token: string;
  /** Milliseconds from now; `Infinity` for one that does not expire. */
  readonly ttlMs: number;
  readonly renewable: boolean;
}

/** A source of tokens. */
export interface TokenSource {
  /** Whether asking again may give another token. */
  readonly again: boolean;
  /** Whether the application supplies the token, so that asking for it is no login. */
  readonly isGiven: boolean;
  /** Obtains a token, or the request for a login that returns one. */
  prepare(): Promise<LoginRequest | { readonly token: string }>;
}

/** The request of a login. */
export interface LoginRequest {
  readonly path: string;
  readonly body: object;
}

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';

/** Returns a source of tokens that the application supplies. */
export function givenToken(token: Secret): TokenSource {
  return {
    again: typeof token === 'function',
    isGiven: true,
    prepare: async () => ({ token: await ask('token', token) }),
  };
}

/** Returns a source of tokens that logs in. */
export function login(auth: VaultAuth): TokenSource {
  return { again: true, isGiven: false, prepare: () => loginRequest(auth) };
}

async function loginRequest(auth: VaultAuth): Promise<LoginRequest> {
  switch (auth.method) {
    case 'approle':
      return {
        path: `auth/${auth.mount ?? 'approle'}/login`,
        body: { role_id: auth.roleId, secret_id: await ask('auth.secretId', auth.secretId) },
      };
    case 'kubernetes':
      return {
        path: `auth/${auth.mount ?? 'kubernetes'}/login`,
        // Read at every login: Kubernetes replaces the file long before the token in it expires.
        body: { role: auth.role, jwt: await readToken(auth.tokenPath ?? SERVICE_ACCOUNT_TOKEN) },
      };
    case 'userpass':
      return {
        path: `auth/${auth.mount ?? 'userpass'}/login/${encodeURIComponent(auth.username)}`,
        body: { password: await ask('auth.password', auth.password) },
      };
  }
}

async function readToken(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    throw new ConfigurationError(
      `vaultKms: the token of the service account, ${path}, cannot be read; see the cause.`,
      { cause: error },
    );
  }
}

async function ask(name: string, secret: Secret): Promise<string> {
  const answer: unknown = typeof secret === 'function' ? await call(name, secret) : secret;
  const text = typeof answer === 'string' ? answer.trim() : '';
  if (text !== '') return text;
  throw new ConfigurationError(
    `vaultKms: there is no ${name}. Is the file or secret that holds it in place?`,
  );
}

async function call(name: string, secret: Exclude<Secret, string>): Promise<string | undefined> {
  try {
    return await secret();
  } catch (error) {
    if (error instanceof FieldEncryptionError) throw error;
    // Without the cause, which comes from the application and may contain the secret.
    throw new KmsUnavailableError(`vaultKms: the function for ${name} failed${codeSuffix(error)}.`);
  }
}

/** Vault locks a user out after five wrong logins in a quarter of an hour, by default. */
const PAUSES_MS = [60_000, 240_000, 900_000] as const;

/**
 * A record of refused logins. The same credentials are only tried again after a while, others at once:
 * servers count mistakes, and lock accounts.
 */
export class RefusedLogins {
  readonly #digestKey = randomBytes(32);
  #digest: string | undefined;
  #error: ConfigurationError | undefined;
  #until = 0;
  #count = 0;

  /** @throws {@link ConfigurationError} for credentials that were refused a while ago */
  require(path: string, body: object): void {
    if (this.#error === undefined || this.#digest !== this.#digestOf(path, body)) return;
    if (performance.now() < this.#until) throw this.#error;
  }

  /** @returns the error to throw */
  remember(path: string, body: object, status: number): ConfigurationError {
    const digest = this.#digestOf(path, body);
    this.#count = digest === this.#digest ? this.#count + 1 : 1;
    this.#digest = digest;
    const pause = PAUSES_MS[Math.min(this.#count, PAUSES_MS.length) - 1] ?? PAUSES_MS[2];
    this.#until = performance.now() + pause;
    const error = new ConfigurationError(
      `vaultKms: the login at ${path.replace(/\/login\/.*/, '/login')} is refused (status ${String(status)}). ` +
        'Check the credentials, the role and auth.mount. Others are tried at once, these again after ' +
        `${String(pause / 60_000)} min, because accounts lock after a few wrong logins.`,
    );
    this.#error = withEvidence(error, { reachable: true, authenticated: false });
    return this.#error;
  }

  /** Forgets refusals, so that the same credentials can be tried at once. */
  forget(): void {
    this.#error = undefined;
    this.#digest = undefined;
    this.#count = 0;
  }

  /** Returns a keyed digest, which nothing outside this object can compare with. */
  #digestOf(path: string, body: object): string {
    const text = JSON.stringify([path, body]);
    return createHmac('sha256', this.#digestKey).update(text).digest('base64');
  }
}
