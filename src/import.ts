import { CloakFormat, cloakKeys } from './import/cloak';
import type { CloakOptions } from './import/cloak';
import type { LocalPreviousFormat, RemotePreviousFormat } from './import/previous-format';
import { TypeormEncryptedFormat } from './import/typeorm-encrypted';
import type { TypeormEncryptedOptions } from './import/typeorm-encrypted';
import { VaultTransitFormat } from './import/vault-transit';
import type { VaultTransitFormatOptions } from './import/vault-transit';

export type { CloakOptions } from './import/cloak';
export type {
  LocalPreviousFormat,
  PreviousFormat,
  RemotePreviousFormat,
} from './import/previous-format';
export type { TypeormEncryptedOptions } from './import/typeorm-encrypted';
export type { VaultTransitFormatOptions } from './import/vault-transit';
export type { Secret, VaultAuth } from './kms/vault/token-source';

/**
 * Reads values of typeorm-encrypted, with the options that the column had.
 *
 * **Warning**: only the GCM algorithms authenticate. With CBC, a wrong key or a changed value is nearly
 * always noticed; with the others, only if the result is not UTF-8.
 *
 * @throws {@link ConfigurationError} for options that cannot work
 */
export function typeormEncryptedFormat(options: TypeormEncryptedOptions): LocalPreviousFormat {
  return new TypeormEncryptedFormat(options);
}

/**
 * Reads values of `@47ng/cloak` or prisma-field-encryption: `v1.aesgcm256.…`.
 *
 * @example
 * ```ts
 * cloakFormat({ keys: [process.env['CLOAK_KEY'] ?? ''] })
 * ```
 * @throws {@link ConfigurationError} for anything but keys or a keychain of cloak
 */
export function cloakFormat(options: CloakOptions): LocalPreviousFormat {
  return new CloakFormat(cloakKeys(options));
}

/**
 * Reads values of the Transit engine of HashiCorp Vault or OpenBao: `vault:v1:…`. Sends them to it in
 * batches, before rows are turned into entities. Needs the package `node-vault`, and a policy that allows
 * `update` on `<mount>/decrypt/<key>`.
 *
 * @throws {@link ConfigurationError} for options that cannot work
 */
export function vaultTransitFormat(options: VaultTransitFormatOptions): RemotePreviousFormat {
  return new VaultTransitFormat(options);
}
