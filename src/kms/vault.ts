import type { KmsProvider } from './kms-provider';
import { RemoteCalls } from './remote/remote-calls';
import { parseOptions } from './vault/options';
import type { VaultKmsOptions } from './vault/options';
import { VaultClient } from './vault/vault-client';
import { VaultKmsProvider } from './vault/vault-kms-provider';
import { VaultSession } from './vault/vault-session';

export type { Secret, VaultAuth } from './vault/token-source';
export type { VaultKmsOptions } from './vault/options';

/**
 * Wraps data keys under a key of the Transit engine of HashiCorp Vault or OpenBao, which never
 * leaves it. Loads nothing and does not log in before the first use. Needs the package `node-vault`.
 *
 * @example
 * ```ts
 * vaultKms({
 *   address: 'https://vault.example.org:8200',
 *   auth: { method: 'approle', roleId: 'clinic', secretId: () => fetchSecret('vault-secret-id') },
 *   key: 'clinic',
 * })
 * ```
 * @throws {@link ConfigurationError} for options that cannot work
 */
export function vaultKms(options: VaultKmsOptions): KmsProvider {
  const { server, place, source, limits } = parseOptions(options);
  const client = new VaultClient(server);
  const calls = new RemoteCalls('vaultKms', limits);
  const session = new VaultSession(client, calls, source);
  return new VaultKmsProvider(client, calls, session, place);
}
