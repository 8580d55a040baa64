import type * as AzureIdentity from '@azure/identity';
import type * as KeyVault from '@azure/keyvault-keys';

import { ConfigurationError, KeyUnwrapError } from '../../errors';
import { loadPeer } from '../remote/optional-peer';
import type { Require } from '../remote/optional-peer';
import type { RemoteCalls } from '../remote/remote-calls';

import { failureOf } from './failures';
import type { Operation } from './failures';
import type { KeyPlace, ParsedOptions } from './options';

/** The most clients that are kept, one for each version of a key in use. */
const MOST_CLIENTS = 32;

/** A client of Key Vault through the SDK, which is loaded at the first call. */
export class AzureClient {
  readonly #options: ParsedOptions;
  readonly #calls: RemoteCalls;
  readonly #require: Require | undefined;
  readonly #cryptographyClients = new Map<string, KeyVault.CryptographyClient>();
  #credential: AzureIdentity.TokenCredential | undefined;
  #keys: KeyVault.KeyClient | undefined;

  constructor(options: ParsedOptions, calls: RemoteCalls, require_?: Require) {
    this.#options = options;
    this.#calls = calls;
    this.#require = require_;
    this.#credential = options.credential;
  }

  /** Describes a version of a key, or the newest one. */
  describeKey(place: KeyPlace): Promise<KeyVault.KeyVaultKey> {
    return this.#describe('describe', place);
  }

  /**
   * Describes the version of a key that is said to have signed.
   *
   * @throws {@link KeyUnwrapError} if it does not exist, or another one answered
   */
  async describeSigner(place: Required<KeyPlace>): Promise<KeyVault.KeyVaultKey> {
    const key = await this.#describe('unwrap', place);
    const { name, version } = key.properties;
    if (name === place.name && version === place.version) return key;
    throw new KeyUnwrapError(
      'azureKms: another key answered than the one that is said to have signed.',
    );
  }

  async wrap(version: string, key: Uint8Array): Promise<KeyVault.WrapResult> {
    const client = this.#cryptographyClient(this.keyId(version));
    return this.#run('wrap', (abortSignal) =>
      client.wrapKey(this.#options.algorithm, key, { abortSignal }),
    );
  }

  async unwrap(
    version: string,
    algorithm: KeyVault.KeyWrapAlgorithm,
    wrapped: Uint8Array,
  ): Promise<KeyVault.UnwrapResult> {
    const client = this.#cryptographyClient(this.keyId(version));
    return this.#run('unwrap', (abortSignal) =>
      client.unwrapKey(algorithm, wrapped, { abortSignal }),
    );
  }

  async sign(
    { name, version }: KeyPlace & { readonly version: string },
    digest: Uint8Array,
  ): Promise<KeyVault.SignResult> {
    const client = this.#cryptographyClient(`${this.#options.vaultUrl}/keys/${name}/${version}`);
    return this.#run('sign', (abortSignal) => client.sign('PS256', digest, { abortSignal }));
  }

  /** Returns the id of a version of the KEK. */
  keyId(version: string): string {
    const { vaultUrl, kek } = this.#options;
    return `${vaultUrl}/keys/${kek.name}/${version}`;
  }

  close(): void {
    this.#cryptographyClients.clear();
    this.#keys = undefined;
  }

  #run<T>(operation: Operation, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return this.#calls.run(async (signal) => {
      try {
        return await call(signal);
      } catch (error) {
        throw failureOf(error, operation);
      }
    });
  }

  #keyClient(): KeyVault.KeyClient {
    const { KeyClient } = this.#sdk();
    this.#keys ??= new KeyClient(this.#options.vaultUrl, this.#token(), this.#clientOptions());
    return this.#keys;
  }

  async #describe(
    operation: 'describe' | 'unwrap',
    { name, version }: KeyPlace,
  ): Promise<KeyVault.KeyVaultKey> {
    const client = this.#keyClient();
    return this.#run(operation, (abortSignal) =>
      client.getKey(name, { abortSignal, ...(version === undefined ? {} : { version }) }),
    );
  }

  #cryptographyClient(keyId: string): KeyVault.CryptographyClient {
    const { CryptographyClient } = this.#sdk();
    const known = this.#cryptographyClients.get(keyId);
    if (known !== undefined) return known;
    // Versions come from key rows, which may be forged.
    if (this.#cryptographyClients.size >= MOST_CLIENTS) this.#cryptographyClients.clear();
    const client = new CryptographyClient(keyId, this.#token(), this.#clientOptions());
    this.#cryptographyClients.set(keyId, client);
    return client;
  }

  #clientOptions(): KeyVault.CryptographyClientOptions {
    const { clientOptions } = this.#options;
    const echo = { policy: echoPolicy, position: 'perCall' } as const;
    return {
      ...clientOptions,
      additionalPolicies: [...(clientOptions.additionalPolicies ?? []), echo],
      // The provider does its own retries, and follows no redirects.
      retryOptions: { maxRetries: 0 },
      redirectOptions: { maxRetries: 0 },
    };
  }

  #sdk(): typeof KeyVault {
    return loadPeer('azureKms', '@azure/keyvault-keys', this.#require) as typeof KeyVault;
  }

  #token(): AzureIdentity.TokenCredential {
    this.#credential ??= this.#defaultCredential();
    return this.#credential;
  }

  #defaultCredential(): AzureIdentity.TokenCredential {
    const identity = loadPeer('azureKms', '@azure/identity', this.#require) as typeof AzureIdentity;
    return new identity.DefaultAzureCredential();
  }
}

interface Request {
  readonly url: string;
}

interface Response {
  readonly status: number;
  readonly bodyAsText?: string | null;
}

/** A step of the SDK's pipeline. */
export interface EchoPolicy {
  readonly name: string;
  sendRequest<R extends Request, S extends Response>(
    request: R,
    next: (request: R) => Promise<S>,
  ): Promise<S>;
}

/**
 * Compares the id of the key that answered with the one in the request. The SDK does not return it: its
 * `keyID` is what it was given itself.
 */
const echoPolicy: EchoPolicy = {
  name: 'fieldEncryptionEchoPolicy',
  async sendRequest(request, next) {
    const response = await next(request);
    const [, path, operation] =
      /^(.*)\/(wrapkey|unwrapkey|sign)$/.exec(new URL(request.url).pathname) ?? [];
    if (operation === undefined || response.status !== 200) return response;
    if (echoedPath(response.bodyAsText) === path) return response;
    throw operation === 'unwrapkey'
      ? new KeyUnwrapError('azureKms: another key answered than the one that was asked.')
      : new ConfigurationError(
          `azureKms: another key than ${operation === 'sign' ? 'the one to sign' : 'keyId'} answered. Check keyId.`,
        );
  },
};

function echoedPath(body: string | null | undefined): string | undefined {
  try {
    const answer: unknown = JSON.parse(body ?? '');
    const kid: unknown =
      typeof answer === 'object' && answer !== null && 'kid' in answer ? answer.kid : undefined;
    return typeof kid === 'string' ? new URL(kid).pathname : undefined;
  } catch {
    return undefined;
  }
}
