import { wipe } from '../../crypto/wipe';
import { ConfigurationError } from '../../errors';
import type { KmsHealth, KmsProvider, WrappedKey } from '../kms-provider';
import { healthOf } from '../remote/describe-health';
import { unwrappedKey } from '../remote/unwrapped-key';
import type { AzureClient } from './azure-client';
import type { KeyWrapName } from './wrapped-form';
import { KEY_WRAPS, parse, serialize } from './wrapped-form';

/** Has Azure Key Vault or Managed HSM wrap and unwrap. It cannot authenticate a binding. */
export class AzureKmsProvider implements KmsProvider {
  readonly name = 'azure';
  readonly #client: AzureClient;
  readonly #algorithm: KeyWrapName;

  constructor(client: AzureClient, algorithm: KeyWrapName) {
    this.#client = client;
    this.#algorithm = algorithm;
  }

  async wrapKey(key: Uint8Array): Promise<WrappedKey> {
    const version = await this.#versionToWrapUnder();
    // A call whose time is up may still be at work when the caller has wiped the key.
    const copy = Uint8Array.from(key);
    const { result } = await this.#client.wrap(version, copy);
    wipe(copy);
    const wrapped = serialize({ algorithm: this.#algorithm, version, body: result });
    if (wrapped === undefined) {
      throw new ConfigurationError(
        `azureKms: the answer is not of ${this.#algorithm}. Check keyId.`,
      );
    }
    return { kek: `azure-kms:${this.#client.keyId(version)}`, wrapped };
  }

  async unwrapKey({ wrapped }: WrappedKey): Promise<Uint8Array> {
    const { algorithm, version, body } = parse(wrapped);
    const { result } = await this.#client.unwrap(version, algorithm, body);
    return unwrappedKey('azureKms', result);
  }

  health(): Promise<KmsHealth> {
    return healthOf(async () => this.#client.keyId(await this.#versionToWrapUnder()));
  }

  close(): Promise<void> {
    this.#client.close();
    return Promise.resolve();
  }

  /** @throws {@link ConfigurationError} for a key that must not wrap data keys */
  async #versionToWrapUnder(): Promise<string> {
    const { keyType = 'unknown', properties } = await this.#client.describeKey();
    const { version = '', enabled, exportable } = properties;
    const keyTypes = KEY_WRAPS.find(({ name }) => name === this.#algorithm)?.keyTypes ?? [];
    if (!keyTypes.includes(keyType)) {
      throw new ConfigurationError(
        `azureKms: the key is of type ${keyType}, and ${this.#algorithm} is for ${keyTypes.join(' and ')}. ` +
          'Set algorithm to fit the key.',
      );
    }
    if (enabled === false) {
      throw new ConfigurationError(
        'azureKms: the key is disabled. Run: az keyvault key set-attributes --enabled true',
      );
    }
    if (exportable === true) {
      throw new ConfigurationError(
        'azureKms: the key is exportable, so that it can be taken out of the vault. Make another one.',
      );
    }
    return version;
  }
}
