import { isText, OptionChecks, REMOTE_OPTIONS } from '../remote/option-checks';
import type { RemoteOptions } from '../remote/option-checks';
import type { RemoteLimits } from '../remote/remote-calls';

import type { KeyPlace } from './refusals';
import { TlsOptions } from './tls-options';
import type { Pem } from './tls-options';
import { givenToken, login } from './token-source';
import type { Secret, TokenSource, VaultAuth } from './token-source';
import type { VaultPlace } from './vault-client';

/** The key-encryption key (KEK), and how to reach it. */
export interface VaultKmsOptions extends RemoteOptions {
  /** URL of the server, such as `https://vault.example.org:8200`. Defaults to the environment's `VAULT_ADDR`. */
  readonly address?: string;
  /** A token, or a function that returns one. Defaults to `VAULT_TOKEN` if there is no `auth`. */
  readonly token?: Secret;
  /** How to log in, instead of `token`. */
  readonly auth?: VaultAuth;
  /** Defaults to `VAULT_NAMESPACE`, or else to none. */
  readonly namespace?: string;
  /** Path of the Transit engine. Defaults to `transit`. */
  readonly mount?: string;
  /** Name of the key, of type `aes256-gcm96`, `chacha20-poly1305` or `xchacha20-poly1305`. */
  readonly key: string;
  /**
   * Certificate authorities to trust instead of the system's, as PEM. Defaults to the file that
   * `VAULT_CACERT` names, or else to the system's.
   */
  readonly ca?: string | Buffer;
  /**
   * Certificate of this client, as PEM, for a server that asks for one. Defaults to the file that
   * `VAULT_CLIENT_CERT` names, or else to none.
   */
  readonly clientCert?: string | Buffer;
  /** Its private key, as PEM. Defaults to the file that `VAULT_CLIENT_KEY` names. */
  readonly clientKey?: string | Buffer;
  /** Whether to allow `http:` to other machines, which exposes token and keys to the network. Defaults to `false`. */
  readonly insecureHttp?: boolean;
}

/** Checked options. */
export interface ParsedOptions {
  readonly server: VaultPlace;
  readonly place: KeyPlace;
  readonly source: TokenSource;
  readonly limits: RemoteLimits;
}

const NAMES: readonly string[] = [
  'address',
  'token',
  'auth',
  'namespace',
  'mount',
  'key',
  'ca',
  'clientCert',
  'clientKey',
  'insecureHttp',
  ...REMOTE_OPTIONS,
] satisfies (keyof VaultKmsOptions)[];

const AUTH_NAMES = {
  approle: ['method', 'mount', 'roleId', 'secretId'],
  kubernetes: ['method', 'mount', 'role', 'tokenPath'],
  userpass: ['method', 'mount', 'username', 'password'],
} satisfies Record<VaultAuth['method'], readonly string[]>;

/** The options that may be left out. */
const OPTIONAL_AUTH_NAMES = ['mount', 'tokenPath'];

const MAX_PLACE_CHARS = 400;

const check: OptionChecks = new OptionChecks('vaultKms');

/** @throws {@link ConfigurationError} that names the option, and never a secret */
export function parseOptions(options: VaultKmsOptions): ParsedOptions {
  check.known(options, NAMES);
  const { env } = process;
  const { mount = 'transit', key } = options;
  const namespace = options.namespace ?? optional(env['VAULT_NAMESPACE']);
  check.require(
    isText(key) && /^\w([\w.-]*\w)?$/.test(key),
    'key must be the name of a Transit key',
  );
  check.require(isPath(mount), 'mount must be the path of a Transit engine, such as transit');
  check.require(namespace === undefined || isPath(namespace), 'namespace must be a path');
  check.require(
    `${namespace ?? ''}${mount}${key}`.length <= MAX_PLACE_CHARS,
    `namespace, mount and key must have at most ${String(MAX_PLACE_CHARS)} characters in all`,
  );
  return {
    server: {
      address: parseAddress(options, env['VAULT_ADDR']),
      namespace,
      tls: parseTls(options, env),
    },
    place: { namespace, mount: mount.replace(/\/$/, ''), key },
    source: parseSource(options, env['VAULT_TOKEN']),
    limits: check.limits(options),
  };
}

function parseTls(options: VaultKmsOptions, env: NodeJS.ProcessEnv): TlsOptions {
  const ca = parsePem('ca', options.ca, env, 'VAULT_CACERT');
  const cert = parsePem('clientCert', options.clientCert, env, 'VAULT_CLIENT_CERT');
  const key = parsePem('clientKey', options.clientKey, env, 'VAULT_CLIENT_KEY');
  check.require(
    (cert === undefined) === (key === undefined),
    'clientCert and clientKey go together, here or as VAULT_CLIENT_CERT and VAULT_CLIENT_KEY',
  );
  return new TlsOptions(ca, cert && key && { cert, key });
}

function parsePem(
  name: string,
  given: unknown,
  env: NodeJS.ProcessEnv,
  variable: string,
): Pem | undefined {
  check.require(
    given === undefined || isText(given) || Buffer.isBuffer(given),
    `${name} must be PEM text`,
  );
  if (given !== undefined) return { pem: given };
  const file = optional(env[variable]);
  return file === undefined ? undefined : { file, of: variable };
}

function parseAddress({ address, insecureHttp = false }: VaultKmsOptions, env?: string): string {
  const text = address ?? env;
  const url = isText(text) && URL.canParse(text) ? new URL(text) : undefined;
  check.require(
    url !== undefined && ['https:', 'http:'].includes(url.protocol),
    'address must be a URL such as https://vault.example.org:8200, here or as VAULT_ADDR',
  );
  check.require(
    url.username === '' && url.password === '' && url.search === '' && url.hash === '',
    'address must be without user, query and fragment',
  );
  check.require(typeof insecureHttp === 'boolean', 'insecureHttp must be true or false');
  check.require(
    url.protocol === 'https:' || insecureHttp || isThisMachine(url.hostname),
    'address must begin with https:, because the token and the data keys go there. ' +
      'Set insecureHttp if the network in between is yours alone',
  );
  return url.href.replace(/\/+$/, '');
}

function isThisMachine(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname);
}

function parseSource({ token, auth }: VaultKmsOptions, env?: string): TokenSource {
  check.require(token === undefined || auth === undefined, 'want one of token and auth, got both');
  if (auth !== undefined) return login(parseAuth(auth));
  const given = token ?? optional(env);
  check.require(
    isSecret(given),
    'there is neither token nor auth. Give one of them, or set VAULT_TOKEN',
  );
  return givenToken(given);
}

function parseAuth(auth: VaultAuth): VaultAuth {
  check.require(
    typeof auth === 'object' && Object.hasOwn(AUTH_NAMES, auth.method),
    `auth.method must be one of ${Object.keys(AUTH_NAMES).join(', ')}`,
  );
  const names: readonly string[] = AUTH_NAMES[auth.method];
  check.known(auth, names, 'auth.');
  const given: Partial<Record<string, unknown>> = { ...auth };
  for (const name of names) {
    const value = given[name];
    const isOptional = OPTIONAL_AUTH_NAMES.includes(name) && value === undefined;
    const isGiven = ['secretId', 'password'].includes(name) ? isSecret(value) : isText(value);
    check.require(isOptional || isGiven, `auth.${name} is missing`);
  }
  check.require(auth.mount === undefined || isPath(auth.mount), 'auth.mount must be a path');
  return auth;
}

function isSecret(value: unknown): value is Secret {
  return isText(value) || typeof value === 'function';
}

function isPath(value: unknown): value is string {
  return isText(value) && /^[\w-][\w.-]*(\/[\w-][\w.-]*)*\/?$/.test(value);
}

function optional(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}
