import { AzureClient } from './azure/azure-client';
import { AzureKmsProvider } from './azure/azure-kms-provider';
import { parseOptions } from './azure/options';
import type { AzureKmsOptions } from './azure/options';
import type { KmsProvider } from './kms-provider';
import { RemoteCalls } from './remote/remote-calls';

export type { AzureKmsOptions } from './azure/options';
export type { KeyWrapName } from './azure/wrapped-form';

/**
 * Wraps data keys under a key of Azure Key Vault or Managed HSM, which never leaves it. What an RSA key
 * wraps is signed, so that the public key alone does not suffice to make data keys. Loads nothing and
 * calls nothing before the first use. Needs the packages `@azure/keyvault-keys` and,
 * without a `credential` of your own, `@azure/identity`.
 *
 * @example
 * ```ts
 * azureKms({ keyId: 'https://clinic.vault.azure.net/keys/kek' })
 * ```
 * @throws {@link ConfigurationError} for options that cannot work
 */
export function azureKms(options: AzureKmsOptions): KmsProvider {
  const parsed = parseOptions(options);
  const client = new AzureClient(parsed, new RemoteCalls('azureKms', parsed.limits));
  return new AzureKmsProvider(client, parsed);
}
