import type * as AzureIdentity from '@azure/identity';
import type * as KeyVault from '@azure/keyvault-keys';

import type { Require } from '../remote/optional-peer';
import { loadPeer } from '../remote/optional-peer';
import type { RemoteCalls } from '../remote/remote-calls';
import { echoPolicy } from './echo-policy';
import type { Operation } from './failures';
import { failureOf } from './failures';
import type { ParsedOptions } from './options';

/** Clients kept, one for each version of the KEK in use. */
const MOST_CLIENTS = 32;

/** Speaks to Key Vault through the SDK, which is loaded at the first call. */
export class AzureClient {
  readonly #options: ParsedOptions;
  readonly #calls: RemoteCalls;
  readonly #require: Require | undefined;
  readonly #versions = new Map<string, KeyVault.CryptographyClient>();
  #credential: AzureIdentity.TokenCredential | undefined;
  #keys: KeyVault.KeyClient | undefined;

  constructor(options: ParsedOptions, calls: RemoteCalls, require_?: Require) {
    this.#options = options;
    this.#calls = calls;
    this.#require = require_;
    this.#credential = options.credential;
  }

  /** The version to wrap under, as Key Vault describes it. */
  async describeKey(): Promise<KeyVault.KeyVaultKey> {
    const { keyName, version } = this.#options;
    const client = this.#keyClient();
    return this.#run('describe', (abortSignal) =>
      client.getKey(keyName, { abortSignal, ...(version === undefined ? {} : { version }) }),
    );
  }

  async wrap(version: string, key: Uint8Array): Promise<KeyVault.WrapResult> {
    const client = this.#cryptographyClient(version);
    return this.#run('wrap', (abortSignal) =>
      client.wrapKey(this.#options.algorithm, key, { abortSignal }),
    );
  }

  async unwrap(
    version: string,
    algorithm: KeyVault.KeyWrapAlgorithm,
    wrapped: Uint8Array,
  ): Promise<KeyVault.UnwrapResult> {
    const client = this.#cryptographyClient(version);
    return this.#run('unwrap', (abortSignal) =>
      client.unwrapKey(algorithm, wrapped, { abortSignal }),
    );
  }

  /** Id of a version of the KEK. */
  keyId(version: string): string {
    const { vaultUrl, keyName } = this.#options;
    return `${vaultUrl}/keys/${keyName}/${version}`;
  }

  close(): void {
    this.#versions.clear();
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

  #cryptographyClient(version: string): KeyVault.CryptographyClient {
    const { CryptographyClient } = this.#sdk();
    const known = this.#versions.get(version);
    if (known !== undefined) return known;
    // Versions come from key rows, which somebody may have made up.
    if (this.#versions.size >= MOST_CLIENTS) this.#versions.clear();
    const id = this.keyId(version);
    const client = new CryptographyClient(id, this.#token(), this.#clientOptions());
    this.#versions.set(version, client);
    return client;
  }

  #clientOptions(): KeyVault.CryptographyClientOptions {
    const { clientOptions } = this.#options;
    const echo = { policy: echoPolicy, position: 'perCall' } as const;
    return {
      ...clientOptions,
      additionalPolicies: [...(clientOptions.additionalPolicies ?? []), echo],
      // Calls are tried again here, and nothing is sent to where a redirect points.
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
